"""One file takes neither the machine nor the table: kinds of files, pages, time and memory are bounded."""

import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from vitrail.data import decoding_limits, file_bytes
from vitrail.data.decode import BadImage, decode
from vitrail.data.decoding_limits import DECODING, MemoryBudget, TooMuchMemoryError
from vitrail.data.file_bytes import read_file
from vitrail.data.loader import EvalLoader
from vitrail.data.open import Sample, Source, read_image
from vitrail.data.preprocess import Preprocess
from vitrail.data.survey import survey
from vitrail.data.tiff import MAX_BANDS

NEEDS_PIPES = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")


def tiff_of_pages(*pages: np.ndarray, **options: object) -> bytearray:
    file = BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page in pages:
            writer.write(page, contiguous=False, metadata=None, **options)
    return bytearray(file.getvalue())


def chain(count: int, last: int = 0) -> bytes:
    """A TIFF of `count` grey pages of one pixel that share their pixel; the last one links to `last`."""
    entries = [(256, 1), (257, 1), (258, 8), (262, 1), (273, 8), (279, 1)]
    size = 2 + 12 * len(entries) + 4
    first = 10
    body = [struct.pack("<2sHI", b"II", 42, first), b"\x07\0"]
    for page in range(count):
        following = first + size * (page + 1) if page + 1 < count else last
        rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
        body.append(struct.pack("<H", len(entries)) + rows + struct.pack("<I", following))
    return b"".join(body)


@NEEDS_PIPES
def test_pipes_and_devices_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, target in (("a.png", "pipe"), ("b.png", "/dev/zero")):
        (tmp_path / name).symlink_to(target)
        with pytest.raises(OSError, match="not a regular file"):
            read_file(tmp_path / name)
    with pytest.raises(IsADirectoryError):
        read_file(tmp_path)


def test_size_of_a_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    assert read_file(tmp_path / "a", offset=3, size=4) == b"3456"
    monkeypatch.setattr(file_bytes, "MAX_BYTES", 9)
    with pytest.raises(OSError, match="too large: 10 bytes, the limit is 9"):
        read_file(tmp_path / "a")


@pytest.mark.parametrize("back", [10, 10 + 78])
def test_pages_in_a_circle(back: int) -> None:
    assert decode(chain(3)).tolist() == [[[7]], [[7]], [[7]]]
    with pytest.raises(BadImage, match="pages form a circle"):
        decode(chain(3, last=back))


def test_many_pages() -> None:
    assert len(decode(chain(MAX_BANDS))) == MAX_BANDS
    with pytest.raises(BadImage, match="20,000 grey pages as bands: the limit is 1,024"):
        decode(chain(20_000))
    with pytest.raises(BadImage, match="too many pages"):
        decode(chain(30_001))


def test_pages_of_another_kind_leave_the_first() -> None:
    grey = np.arange(35, dtype=np.uint8).reshape(5, 7)
    image = torch.from_numpy(grey)[None]
    assert torch.equal(decode(bytes(tiff_of_pages(grey, grey[:2, :3]))), image)
    assert torch.equal(decode(bytes(tiff_of_pages(grey, grey.astype(np.uint16)))), image)
    assert torch.equal(decode(bytes(tiff_of_pages(grey, grey))), image.expand(2, -1, -1))


def test_time_of_a_file_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = BytesIO()
    Image.new("RGB", (4, 4)).save(data, "PNG")
    monkeypatch.setattr(decoding_limits, "MAX_SECONDS", -1.0)
    for slow in (data.getvalue(), bytes(tiff_of_pages(np.zeros((5, 4, 4), np.uint8)))):
        with pytest.raises(BadImage, match="takes longer than"):
            decode(slow)


def test_scans_of_a_jpeg_are_bounded() -> None:
    file = BytesIO()
    Image.new("L", (4000, 4000)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    start = data.index(b"\xff\xda")
    end = data.index(b"\xff", start + 2)
    bomb = data[:start] + data[start:end] * 3000 + data[start:]
    with pytest.raises(BadImage, match=r"too slow to decode: 3,0.. scans of 16,000,000 pixels"):
        decode(bomb)


def test_threads_share_the_budget_of_memory() -> None:
    budget, together, most = MemoryBudget(3 * 2**26), 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal together, most
        with budget.reserved(2**26):
            with lock:
                together += 1
                most = max(most, together)
            time.sleep(0.005)
            with lock:
                together -= 1

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most <= 3
    with budget.reserved(3 * 2**26):
        pass  # everything was given back


def test_processes_have_equal_parts_of_the_budget_and_large_images_one_lock() -> None:
    entered = 0

    @contextmanager
    def alone() -> Iterator[None]:
        nonlocal entered
        entered += 1
        yield

    budget = MemoryBudget(2**28)
    with budget.reserved(2**28):
        assert entered == 0
    for count, times in ((2**26, 0), (2**26 + 1, 1), (2**28, 1)):  # a quarter of it is 2^26
        entered = 0
        budget.share(4, alone())
        with budget.reserved(count):
            assert entered == times


def test_worker_processes_share_one_budget() -> None:
    def read(index: int) -> torch.Tensor:
        return torch.full((1, 2, 2), DECODING.processes, dtype=torch.uint8)

    preprocess = Preprocess(image_size=(2, 2), channels=1, mean=(0.0,), std=(1.0,))
    for workers, expected in ((0, 1), (2, 2)):
        batches = list(EvalLoader(read, 4, preprocess, batch_size=2, workers=workers))
        assert torch.cat(batches).unique().tolist() == [expected]


def test_an_image_beyond_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_limits, "main_memory", lambda: (2**31, 2**30))
    reason = r"takes about 4\.3 GB, and 1\.1 are free"
    with pytest.raises(TooMuchMemoryError, match=reason), MemoryBudget().reserved(2**32):
        pass
    with MemoryBudget(2**28).reserved(2**29):  # beyond the budget, but there is room
        pass


@dataclass(frozen=True)
class Broken:
    """Location of another package whose code fails."""

    def read(self) -> bytes:
        raise KeyError("no such object")

    def stamp(self) -> None:
        return None


def test_any_error_of_a_location_is_a_bad_image() -> None:
    sample = Sample("a", (), None, Broken())
    with pytest.raises(BadImage, match=r"a: cannot be read .KeyError: 'no such object'"):
        read_image(sample)
    found = survey(Source("s", (), (sample,)))
    assert [bad.name for bad in found.bad] == ["a"]


def test_any_error_after_decoding_is_a_bad_image() -> None:
    def fail(image: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory")

    file = BytesIO()
    Image.new("RGB", (4, 4)).save(file, "PNG")
    with pytest.raises(BadImage, match="out of memory"):
        decode(file.getvalue(), then=fail)
