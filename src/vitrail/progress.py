"""Messages and progress reports: bars on a terminal, lines elsewhere, nothing by default in the Python API."""

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

Total = int | Callable[[], int]
"""Number of items, or a function that gives it if it may still change."""

Track = Callable[[Iterable[Any], Total, str], Iterable[Any]]
"""Type of `progress` arguments: (items, total, label) -> the same items."""


Say = Callable[[str], None]
"""Type of `say` arguments: shows a message to the user."""


def to_stderr(message: str) -> None:
    """Print a message to standard error."""
    print(harmless(message), file=sys.stderr, flush=True)


def harmless(message: str) -> str:
    r"""Replace control characters, which could steer the terminal, by escapes such as \x1b; lines and tabs remain.

    Names in messages are those of files and models of others.
    """
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], message)


_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def discard_message(message: str) -> None:
    """Print nothing: the default of `say` in the Python API."""


def silent(items: Iterable[T], total: Total, label: str) -> Iterable[T]:
    """Return the items without a report: the default of the Python API."""
    return items


def visible(items: Iterable[T], total: Total, label: str) -> Iterator[T]:
    """Report progress on standard error: a bar on a terminal, otherwise a line at most every ten seconds."""
    return _bar(items, total, label) if sys.stderr.isatty() else _lines(items, total, label)


def _bar(items: Iterable[T], total: Total, label: str) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        shown = bar.add_task(label, total=_number(total))
        for item in items:
            yield item
            bar.update(shown, advance=1, total=_number(total))


def _lines(items: Iterable[T], total: Total, label: str) -> Iterator[T]:
    started = spoken = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - spoken >= 10:
            spoken = now
            print(f"{label}: {done}/{_number(total)} ({now - started:.0f} s)", file=sys.stderr, flush=True)


def _number(total: Total) -> int:
    return total if isinstance(total, int) else total()
