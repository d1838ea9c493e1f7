"""Cores and memory that this process may use."""

import os
import platform
from contextvars import ContextVar
from pathlib import Path

from .cgroup import cpu_quota, memory_limit

_MATRIX_FLAGS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimddp", "bf16")

MOST_CORES: ContextVar[int | None] = ContextVar("most cores", default=None)
"""Set by `devices.threads_at_most`."""


def usable_cores() -> int:
    """Number of cores this process may use: the smallest of its affinity, its control group's quota and the limit of
    `threads_at_most`."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [limit for limit in (cpu_quota(), MOST_CORES.get()) if limit is not None]
    return max(1, min(allowed, *limits)) if limits else allowed


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Name of the processor with the instruction sets that decide the speed of matrix products.

    Virtual machines give many processors the same name.
    """
    try:
        rows = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    found = {name.strip(): value.split() for name, value in rows.items()}
    words = " ".join(found.get("model name", [])) or platform.machine()
    flags = found.get("flags", found.get("Features", []))
    return " ".join([words, *(flag for flag in _MATRIX_FLAGS if flag in flags)])


def main_memory(meminfo: Path = Path("/proc/meminfo")) -> tuple[int, int]:
    """(total, available) bytes of main memory, limited by the control group."""
    total, available = _hardware_memory(meminfo)
    limit = memory_limit()
    if limit is None or limit.limit >= total:
        return total, available
    return limit.limit, max(0, min(available, limit.limit - limit.used))


def resident_bytes() -> int:
    """Bytes of main memory that this process uses; 0 if the system has no such number."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _hardware_memory(meminfo: Path) -> tuple[int, int]:
    try:
        rows = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        return _kibibytes(rows["MemTotal"]), _kibibytes(rows["MemAvailable"])
    except (OSError, KeyError):  # not Linux
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return total, total


def _kibibytes(text: str) -> int:
    return int(text.split()[0]) * 1024
