"""Limits on this process by control groups (containers, schedulers), versions 1 and 2."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MEMBERSHIP = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """Memory limit of a group in bytes, and bytes in use that cannot be reclaimed."""

    limit: int
    used: int


def cpu_quota(membership: Path = MEMBERSHIP, mount: Path = MOUNT) -> int | None:
    """Lowest CPU quota of the process's groups, in cores, rounded up; None if there is none."""
    quotas = []
    for folder in _folders("cpu", membership, mount):
        pair = _words(folder / "cpu.max") or _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        if len(pair) == 2 and pair[0].isdecimal():
            quotas.append(math.ceil(int(pair[0]) / int(pair[1])))
    return min(quotas, default=None)


def memory_limit(membership: Path = MEMBERSHIP, mount: Path = MOUNT) -> MemoryLimit | None:
    """Lowest memory limit of the process's groups; None if there is none."""
    limits = []
    for folder in _folders("memory", membership, mount):
        limit = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
        used = _words(folder / "memory.current") or _words(folder / "memory.usage_in_bytes")
        if limit and used and limit[0].isdecimal():
            limits.append(MemoryLimit(int(limit[0]), max(0, int(used[0]) - _reclaimable(folder))))
    return min(limits, key=lambda found: found.limit - found.used, default=None)


def _folders(controller: str, membership: Path, mount: Path) -> Iterator[Path]:
    # The process's group and those above it. Inside a container the path may be one of the host: then the mount
    # itself is the process's group.
    for line in _lines(membership):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = mount / controllers if controllers else mount
        if controllers and not root.is_dir():
            root = mount / controller
        group = root / path.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(root) and folder.is_dir())


def _reclaimable(folder: Path) -> int:
    # Version 1 counts a group's children in the rows that begin with total_.
    rows = dict(line.split() for line in _lines(folder / "memory.stat"))
    return int(rows.get("total_inactive_file", rows.get("inactive_file", 0)))


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
