"""Suppresses the warnings of decoders, also in threads."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("PIL.TiffImagePlugin", "tifffile")
_lock = threading.Lock()
_users = 0
_filters = warnings.catch_warnings()


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the decoders' warnings (palette transparency, odd EXIF, damaged tags).

    `catch_warnings` alone is not safe in threads: two that overlap restore each other's filters. So the first
    one in changes them and the last one out restores them.
    """
    global _users, _filters
    with _lock:
        if _users == 0:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.simplefilter("ignore")
            for name in _LOGGERS:
                logging.getLogger(name).addFilter(_drop)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _filters.__exit__(None, None, None)
                for name in _LOGGERS:
                    logging.getLogger(name).removeFilter(_drop)


def _drop(record: logging.LogRecord) -> bool:
    return False
