"""How the C library hands memory out."""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory for the next allocation instead of giving it back to the system.

    A training step frees and asks for the same large blocks again and again; by default each of them is mapped, cleared
    and unmapped by the kernel every time. Process-wide; True where it took effect. See LOG.md for what it gains.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    return all(mallopt(key, value) for key, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 1 << 30), (_TOP_PAD, 64 << 20)))
