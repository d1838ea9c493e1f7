"""Large JPEGs, which are decoded at a fraction of their size; the oracle is the resize of the whole image."""

import struct
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vitrail.data.decode import BadImage, decode, decode_sized, unchanged
from vitrail.data.decoding_limits import DECODING
from vitrail.data.fitted import read_fitted
from vitrail.data.preprocess import Preprocess
from vitrail.data.samples import FileAt, Sample

SMALL = Preprocess(image_size=(48, 48), crop=0.8)
assert SMALL.enough == 120


def jpeg(size: tuple[int, int], kind: str = "JPEG", *, turn: int | None = None, grey: bool = False) -> bytes:
    """Soft shapes with fine texture, (height, width) as stored."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize(size[::-1], 3)
    pixels = (np.asarray(coarse) + random.normal(0, 8, (*size, 3))).clip(0, 255).astype(np.uint8)
    image, file, exif = Image.fromarray(pixels), BytesIO(), Image.Exif()
    if turn is not None:
        exif[0x0112] = turn
    more = {"save_all": True, "append_images": [image]} if kind == "MPO" else {}
    (image.convert("L") if grey else image).save(file, kind, quality=90, exif=exif, **more)
    return file.getvalue()


def sample(data: bytes, folder: Path) -> Sample:
    (folder / "a.jpg").write_bytes(data)
    return Sample("a.jpg", (), None, FileAt(str(folder / "a.jpg")))


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("turn", [None, 3, 6])
@pytest.mark.parametrize("stretch", [False, True])
@pytest.mark.parametrize("size", [(240, 300), (1500, 980), (321, 2001), (239, 239)])
def test_nearly_as_the_whole_image_and_with_its_size(size, stretch, turn, grey, tmp_path: Path):
    data = jpeg(size, turn=turn, grey=grey)
    preprocess = Preprocess(image_size=(48, 48), crop=0.8, stretch=stretch)
    whole = decode(data, 3)
    found = read_fitted(sample(data, tmp_path), preprocess)
    assert found.size == tuple(whole.shape[1:]) == (size[::-1] if turn == 6 else size)
    difference = (found.image.float() - preprocess.fit(whole).float()).abs()
    assert difference.mean() < 1.5
    assert difference.max() <= 12
    if min(size) < 240:
        assert difference.max() == 0


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
@pytest.mark.parametrize(("least", "part"), [(87, 8), (88, 2), (261, 2), (262, 1), (None, 1)])
def test_a_fraction_that_moves_no_pixel_much(kind: str, least: int | None, part: int):
    data = jpeg((1045, 1301), kind)  # 1/8 and 1/4 have 3 pixels too many
    image, whole = decode_sized(data, 3, strict=kind == "JPEG", least=least, then=unchanged)
    assert tuple(image.shape[1:]) == (-(-1045 // part), -(-1301 // part))
    assert whole == (1045, 1301)


@pytest.mark.parametrize("turn", [None, 6])
def test_both_decoders_give_the_same(turn: int | None, monkeypatch: pytest.MonkeyPatch):
    data = jpeg((301, 403), turn=turn)
    fast = decode(data, 3, least=50)
    monkeypatch.setattr("vitrail.data.decode.sound_jpeg", lambda *arguments: None)
    assert torch.equal(fast, decode(data, 3, least=50))


def test_damage_is_found_at_any_size(tmp_path: Path):
    data = bytearray(jpeg((600, 800)))
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff\xd9" * 20
    with pytest.raises(BadImage, match=r"damaged|truncated"):
        read_fitted(sample(bytes(data), tmp_path), SMALL)
    with pytest.raises(BadImage, match="truncated"):
        read_fitted(sample(bytes(data[:2000]), tmp_path), SMALL)


def test_clips_are_decoded_whole():
    assert Preprocess(image_size=(48, 48), frames=4).enough is None


def lossless(side: int, channels: int) -> bytes:
    """A lossless JPEG (SOF3) whose values are all 128: each differs by 0 from the one before, a single bit."""
    names = b"RGB"[:channels] if channels == 3 else b"\1"
    table = b"\xff\xc4" + struct.pack(">HB", 20, 0) + bytes([1] + [0] * 15) + b"\0"
    frame = b"\xff\xc3" + struct.pack(">HBHHB", 8 + 3 * channels, 8, side, side, channels)
    frame += b"".join(bytes([name, 0x11, 0]) for name in names)
    scan = b"\xff\xda" + struct.pack(">HB", 6 + 2 * channels, channels) + b"".join(bytes([name, 0]) for name in names)
    return b"\xff\xd8" + table + frame + scan + b"\1\0\0" + bytes(side * side * channels // 8) + b"\xff\xd9"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("filled", [False, True])
def test_a_lossless_jpeg_has_no_fractions(channels: int, filled: bool, tmp_path: Path):
    """In a process of its own: libjpeg wrote beyond its memory."""
    data = lossless(512, channels)
    (tmp_path / "a.jpg").write_bytes(data[:2] + b"\xff\xff" * filled + data[2:])
    code = (
        "import sys; from pathlib import Path; from vitrail.data.decode import decode\n"
        "image = decode(Path(sys.argv[1]).read_bytes(), 3, strict=sys.argv[2] == 'strict', least=32)\n"
        "print(tuple(image.shape), image.unique().tolist())"
    )
    for strict in ("strict", "lenient"):
        words = [sys.executable, "-c", code, str(tmp_path / "a.jpg"), strict]
        ran = subprocess.run(words, capture_output=True, text=True, check=False)
        assert ran.stdout.strip() == "(3, 512, 512) [128]", ran.stderr


def test_progressive_files_reserve_memory_for_the_whole(monkeypatch: pytest.MonkeyPatch):
    costs = []
    real = DECODING.reserved
    monkeypatch.setattr(DECODING, "reserved", lambda cost: costs.append(cost) or real(cost))
    for progressive in (False, True):
        file = BytesIO()
        Image.new("RGB", (1600, 1600)).save(file, "JPEG", progressive=progressive)
        decode(file.getvalue(), 3, least=100)
    assert costs[1] - costs[0] == 2 * 3 * 1600 * 1600


def test_values_that_are_not_averaged_need_the_whole():
    assert Preprocess(image_size=(48, 48), interpolation="nearest").enough is None
