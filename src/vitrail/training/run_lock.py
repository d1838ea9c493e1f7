"""The lock of a run folder: one process writes to it at a time."""

import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ..errors import VitrailError

LOCK = "run.lock"

_held: set[tuple[int, int]] = set()
"""Device and inode of the locks of this process, as the system's locks do not keep a process from itself."""


class RunLock:
    """The lock of a run folder, a context manager.

    The system releases it when the process ends, however it ends. Workers that were forked do not hold it, so a run can
    be resumed at once after its process was killed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock; nothing happens if this object has it. File systems without locks are not locked.

        Raises:
            VitrailError: another process has it; the message names the process.
        """
        path = self.folder / LOCK
        while self._file is None:
            # Before opening: to close the file again would release the lock that this process has.
            if path.exists() and _inode(path.stat()) in _held:
                raise self._in_use(_owner())
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                is_free = _lock(file)
            except OSError:  # no locks on this file system
                os.close(file)
                path.unlink(missing_ok=True)
                return
            if not is_free:
                owner = os.read(file, 200).decode(errors="replace")
                os.close(file)
                raise self._in_use(owner or "another process")
            if not path.exists() or _inode(path.stat()) != _inode(os.fstat(file)):
                os.close(file)  # its owner ended in between and removed it
                continue
            os.ftruncate(file, 0)
            os.write(file, _owner().encode())
            _held.add(_inode(os.fstat(file)))
            self._file = file

    def release(self) -> None:
        """Give the lock back and remove its file; nothing happens if this object does not have it."""
        if self._file is None:
            return
        with suppress(OSError):  # Windows removes no open file
            (self.folder / LOCK).unlink()
        _held.discard(_inode(os.fstat(self._file)))
        os.close(self._file)
        self._file = None

    def _in_use(self, owner: str) -> VitrailError:
        return VitrailError(f"{self.folder} is in use by {owner}: wait until it ends, or stop it first")

    def __enter__(self) -> "RunLock":
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _owner() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _inode(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_dev, facts.st_ino


def _lock(file: int) -> bool:
    """Try to lock an open file; False if another process has locked it. Raises OSError if it cannot be locked."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(file, 2**20, os.SEEK_SET)  # beyond the text, which others read
            try:
                msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(file, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
