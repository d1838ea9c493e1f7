"""Whatever fails while a checkpoint is written, the old one or the new one can be read."""

import contextlib
import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vitrail.checkpoint.atomic import (
    DamagedCheckpoint,
    finish_interrupted,
    verified_folder,
    verify_folder,
    write_file,
    write_folder,
)
from vitrail.errors import VitrailError

CALLS = ("open", "write", "fsync", "rename", "replace", "mkdir", "rmdir", "unlink", "close")


def by_name(path: Path) -> None:
    """A writer such as safetensors', which opens the path itself."""
    with open(path, "wb") as stream:
        stream.write(b"tensors of the new one")


OLD = {"model.bin": b"tensors of the old one", "model.json": b"old"}
NEW = {"model.bin": by_name, "model.json": b"new"}


def age(path: Path) -> bytes:
    return (verified_folder(path) / "model.json").read_bytes()


class Fault:
    """Lets the first `after` system calls of one kind pass and fails the next."""

    def __init__(self, real: Callable[..., Any], after: int, code: int) -> None:
        self.real, self.after, self.code, self.struck = real, after, code, False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.after -= 1
        if self.after == -1:
            self.struck = True
            raise OSError(self.code, os.strerror(self.code))
        return self.real(*args, **kwargs)


def test_a_folder_is_what_was_written(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", OLD)
    write_folder(tmp_path / "x", NEW)
    verify_folder(tmp_path / "x")
    assert age(tmp_path / "x") == b"new"
    assert {file.name for file in tmp_path.iterdir()} == {"x"}
    assert {file.name for file in (tmp_path / "x").iterdir()} == {"model.bin", "model.json", "manifest.json"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", CALLS)
def test_every_call_failing_in_turn_leaves_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    path = tmp_path / "best"
    for after in range(100):
        write_folder(path, OLD)
        fault = Fault(getattr(os, call), after, code)
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fault)
            with contextlib.suppress(OSError):
                write_folder(path, NEW)
        assert age(path) in (b"old", b"new")
        if not fault.struck:
            assert age(path) == b"new"
            break
        write_folder(path, NEW)  # the next save goes on as if nothing had been
        assert age(path) == b"new"
        assert {file.name for file in tmp_path.iterdir()} == {"best"}
    assert not fault.struck


KILLED = """
    import os, sys
    from pathlib import Path
    from tests_support import arm
    from vitrail.checkpoint.atomic import write_folder
    arm(int(sys.argv[2]))
    write_folder(Path(sys.argv[1]), {"model.bin": b"tensors of the new one", "model.json": b"new"})
"""
ARM = """
    import os
    def arm(count):
        left = [count]
        def dying(real):
            def call(*args, **kwargs):
                left[0] -= 1
                if left[0] < 0:
                    os._exit(137)
                return real(*args, **kwargs)
            return call
        for name in ("open", "write", "fsync", "rename", "mkdir", "rmdir", "unlink"):
            setattr(os, name, dying(getattr(os, name)))
"""


def test_dying_at_every_system_call_leaves_old_or_new(tmp_path: Path) -> None:
    (tmp_path / "tests_support.py").write_text(textwrap.dedent(ARM))
    (tmp_path / "killed.py").write_text(textwrap.dedent(KILLED))
    path = tmp_path / "run" / "best"
    seen = set()
    for count in range(60):
        write_folder(path, OLD)
        done = subprocess.run([sys.executable, tmp_path / "killed.py", path, str(count)], check=False)
        assert done.returncode in (0, 137)
        seen.add(age(path))
        if done.returncode == 0:
            break
    assert done.returncode == 0
    assert seen == {b"old", b"new"}


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_folder(path, OLD)
    (path / "model.bin").write_bytes(b"tensors of the 0ld one")
    with pytest.raises(DamagedCheckpoint, match=r"model\.bin was altered"):
        verify_folder(path)
    (path / "model.bin").write_bytes(b"tens")
    with pytest.raises(DamagedCheckpoint, match=r"model\.bin has 4 bytes of 22"):
        verify_folder(path)
    (path / "model.bin").unlink()
    with pytest.raises(DamagedCheckpoint, match=r"model\.bin is missing"):
        verify_folder(path)
    (path / "manifest.json").write_text("{")
    with pytest.raises(DamagedCheckpoint, match=r"manifest\.json cannot be read"):
        verified_folder(path)


def test_a_damaged_folder_gives_way_to_the_whole_one_beside_it(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", OLD)
    (tmp_path / "x").rename(tmp_path / "x.old")
    assert age(tmp_path / "x") == b"old"
    write_folder(tmp_path / "y", NEW)
    (tmp_path / "y").rename(tmp_path / "x")
    (tmp_path / "x" / "model.json").write_bytes(b"nex")
    with pytest.warns(UserWarning, match=r"x\.old beside it is complete"):
        assert age(tmp_path / "x") == b"old"
    finish_interrupted(tmp_path / "x")
    assert (tmp_path / "x" / "model.json").read_bytes() == b"old"
    assert [place.name for place in tmp_path.iterdir()] == ["x"]


def test_folders_of_other_things_are_not_replaced(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(VitrailError, match="is not a checkpoint"):
        write_folder(photos, OLD)
    (photos / "manifest.json").write_text('{"name": "a web app"}')
    with pytest.raises(VitrailError, match="is not a checkpoint"):
        write_folder(photos, OLD)
    (photos / "manifest.json").write_text("a manifest that is no JSON")
    with pytest.raises(VitrailError, match="is not a checkpoint"):
        write_folder(photos, OLD)
    assert (photos / "holiday.jpg").read_bytes() == b"x"
    with pytest.raises(VitrailError, match="is a file"):
        write_folder(photos / "holiday.jpg", OLD)
    with pytest.raises(VitrailError, match="plain name"):
        write_folder(tmp_path / "x", {"../outside": b""})


def test_a_folder_of_ours_with_a_damaged_manifest_is_replaced(tmp_path: Path) -> None:
    write_folder(tmp_path / "x", OLD)
    manifest = tmp_path / "x" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:-9])
    write_folder(tmp_path / "x", NEW)
    assert age(tmp_path / "x") == b"new"


def test_a_single_file_is_old_or_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    for call in ("open", "write", "fsync", "replace", "close"):
        for after in range(10):
            write_file(path, b"old")
            fault = Fault(getattr(os, call), after, errno.ENOSPC)
            with monkeypatch.context() as patch:
                patch.setattr(os, call, fault)
                with contextlib.suppress(OSError):
                    write_file(path, b"new")
            assert path.read_bytes() in (b"old", b"new")
            assert [file.name for file in tmp_path.iterdir()] == [path.name]
            if not fault.struck:
                break
        assert not fault.struck
