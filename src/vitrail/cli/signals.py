"""Signals that end a command: as exceptions, and not before an import has ended."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has no SIGHUP


@contextmanager
def terminable() -> Iterator[None]:
    """Context manager in which SIGTERM, and SIGHUP of a closed terminal, raise KeyboardInterrupt, so that temporary
    files are removed."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(f"stopped by {signal.Signals(number).name}")

    if threading.current_thread() is not threading.main_thread():  # Python lets only that one handle signals
        yield
        return
    former = {number: signal.getsignal(number) for number in _ENDS}
    ours = [number for number, handler in former.items() if handler is not signal.SIG_IGN]  # nohup ignores SIGHUP
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, former[number])


@contextmanager
def signals_held() -> Iterator[None]:
    """Context manager in which Ctrl-C and the signals of `terminable` wait for its end: libraries that are imported
    would swallow the exception."""
    held: list[int] = []
    former: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        former = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDS)}
    ours = [number for number, handler in former.items() if handler not in (signal.SIG_IGN, None)]
    for number in ours:
        signal.signal(number, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, former[number])
    if held:
        signal.raise_signal(held[0])
