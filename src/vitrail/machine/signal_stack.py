"""The alternative stack of signal handlers of this thread."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class SignalStack(ctypes.Structure):
    """`stack_t` of Linux."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


DISABLED = 2
"""Flag of a thread without one."""


def signal_stack() -> SignalStack | None:
    """The alternative stack of this thread; None where it is not known."""
    found = SignalStack()
    known = sys.platform.startswith("linux") and not _sigaltstack(None, found)
    return found if known else None


@contextmanager
def same_signal_stack() -> Iterator[None]:
    """Context manager after which this thread has the alternative stack that it had before.

    Each `openvino.Core` installs one and at its end puts back what it found, so that of two whose lives overlap the
    last to go puts back a stack that the other has already freed. The next signal, such as that of a process that ends,
    would then crash this process.
    """
    before = signal_stack()
    try:
        yield
    finally:
        if before is not None:
            _sigaltstack(before, None)


def _sigaltstack(new: SignalStack | None, old: SignalStack | None) -> int:
    given = [None if each is None else ctypes.byref(each) for each in (new, old)]
    return ctypes.CDLL(None).sigaltstack(*given)
