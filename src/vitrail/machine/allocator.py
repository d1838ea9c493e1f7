"""Settings of the C library's memory allocator."""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for the next allocation instead of returning it to the system.

    A training step frees and allocates the same large blocks repeatedly; by default the kernel maps, clears and unmaps
    each of them every time. Affects the whole process. Returns True if it took effect. LOG.md has measurements.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return False
    return all(mallopt(key, value) for key, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 1 << 30), (_TOP_PAD, 64 << 20)))
