"""The boundary to files of others, whose values no check foresees completely."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import VitrailError


@contextmanager
def refused(what: str) -> Iterator[None]:
    """Context manager in which any failure is a VitrailError that names `what`; the original one is its cause.

    A config may have valid fields that do not fit together in a way that only building the model shows.
    """
    try:
        yield
    except (VitrailError, OSError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or "no message"
        raise VitrailError(f"{what} cannot be used ({type(error).__name__}: {reason}): check the file") from error
