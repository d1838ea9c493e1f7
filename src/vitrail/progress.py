"""Progress reports: bars on a terminal, lines elsewhere, nothing by default in the Python API."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

Track = Callable[[Iterable[Any], int, str], Iterable[Any]]
"""Type of `progress` arguments: (items, total, label) -> the same items."""


def silent(items: Iterable[T], total: int, label: str) -> Iterable[T]:
    """Return the items without a report: the default of the Python API."""
    return items


def visible(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    """Report progress on standard error: a bar on a terminal, otherwise a line at most every ten seconds."""
    return _bar(items, total, label) if sys.stderr.isatty() else _lines(items, total, label)


def _bar(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=label, total=total, console=Console(stderr=True), transient=True)


def _lines(items: Iterable[T], total: int, label: str) -> Iterator[T]:
    started = spoken = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - spoken >= 10:
            spoken = now
            print(f"{label}: {done}/{total} ({now - started:.0f} s)", file=sys.stderr, flush=True)
