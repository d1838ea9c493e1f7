"""Limits on decoding: memory of all threads together, and time of one file."""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from io import BytesIO
from typing import Any

from ..machine.facts import main_memory

MAX_SECONDS = 60.0
"""Longest time that the decoders may go on reading one file."""
_SMALL = 2**25
"""Bytes that an image may take without a reservation, so that ordinary small images need no lock."""
_LEAST, _MOST = 2**28, 2**32
"""Bounds of the budget: enough for a photograph, and for the largest image alone or many photographs."""


class TooSlowError(Exception):
    """A decoder goes on reading one file for longer than `MAX_SECONDS`."""


class TooMuchMemoryError(Exception):
    """An image needs more memory than this machine has free."""


class TimedFile(BytesIO):
    """Bytes of a file that raise `TooSlowError` if they are still read after `MAX_SECONDS`.

    A thread cannot be stopped from outside, but decoders in Python that loop over pages, tags or segments come back
    here. The work of decoders in C is bounded by the number of pixels.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._end = time.monotonic() + MAX_SECONDS

    def read(self, size: int | None = -1, /) -> bytes:
        self._check()
        return super().read(size)

    def readinto(self, buffer: Any, /) -> int:
        self._check()
        return super().readinto(buffer)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._check()
        return super().seek(offset, whence)

    def _check(self) -> None:
        if time.monotonic() > self._end:
            raise TooSlowError(f"decoding takes longer than {MAX_SECONDS:g} seconds")


class MemoryBudget:
    """Bytes of memory that all threads may use for decoding at a time; for several processes, see `share`.

    Args:
        total: number of bytes; None: half of the memory that is free at the first reservation, at most 4 GiB.

    Attributes:
        processes: number of processes that share it.
    """

    def __init__(self, total: int | None = None) -> None:
        self._given = total
        self._begin(1, nullcontext())

    def share(self, processes: int, alone: AbstractContextManager[Any]) -> None:
        """Make it the budget of one of several processes, an equal part of the whole; called at the process's start.

        Args:
            processes: number of processes.
            alone: lock of all of them, under which one process at a time decodes an image that is larger than its part.
        """
        self._begin(processes, alone)

    def _begin(self, processes: int, alone: AbstractContextManager[Any]) -> None:
        self.processes, self._alone = processes, alone
        self._part: int | None = None
        self._used = 0
        self._changed = threading.Condition()  # a new one: that of a forked process may be locked for ever

    @contextmanager
    def reserved(self, count: int) -> Iterator[None]:
        """Wait until `count` bytes are free in the budget, and hold them.

        An image that needs more than the whole budget waits until it is alone, in all processes that share the budget.

        Raises:
            TooMuchMemoryError: there is not that much free memory on the machine.
        """
        if count <= _SMALL:
            yield
            return
        part = self._own_part()
        with self._alone if count > part else nullcontext():
            with self._changed:
                self._changed.wait_for(lambda: self._used == 0 or self._used + count <= part)
                if count > part and count > (free := main_memory()[1]):
                    raise TooMuchMemoryError(
                        f"decoding it takes about {count / 1e9:.1f} GB, and {free / 1e9:.1f} are free"
                    )
                self._used += count
            try:
                yield
            finally:
                with self._changed:
                    self._used -= count
                    self._changed.notify_all()

    def _own_part(self) -> int:
        with self._changed:
            if self._part is None:
                whole = self._given or min(max(_LEAST, main_memory()[1] // 2), _MOST)
                self._part = whole // self.processes
            return self._part


DECODING = MemoryBudget()
"""The budget of this process; worker processes of a loader have equal parts of one, see `share`."""
