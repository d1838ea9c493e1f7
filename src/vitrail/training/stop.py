"""Stop a run between two steps at a signal, after its state is saved."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class StopSignal:
    """Context manager in which SIGINT and SIGTERM set `name` instead of ending the process; a second one ends it."""

    def __init__(self) -> None:
        self.name: str | None = None
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        # Python lets only the main thread handle signals; elsewhere the host program decides.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former.clear()


class Stopped(KeyboardInterrupt):
    """The run was stopped by a signal and its state is saved."""
