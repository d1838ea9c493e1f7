"""The error class of vitrail, and suggestions for unknown names."""

import errno
from collections.abc import Iterable
from difflib import get_close_matches


class VitrailError(ValueError):
    """An error that the user can fix. The message names the value, the rule and the way out."""


_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "unable to allocate",
    "bad_alloc",
    "can't start new thread",
    "killed by signal: killed",
)
"""How torch, its data loader and Python report that memory has run out, in lower case."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is a lack of memory, on the CPU or on a device; torch raises plain RuntimeErrors for it."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = str(error).lower()
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(word in text for word in _MEMORY))


def last_line(error: BaseException) -> str:
    """The last line of an error of another library, where most say what is wrong; its type if it has no text."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1]


def nearest(name: str, valid: Iterable[str]) -> str:
    """Suggestion for an unknown name, as the end of a message: the nearest valid name, or all if they are few.

    >>> nearest("vit_bace", ["vit_base", "vit_tiny"])
    'did you mean vit_base?'
    """
    options = list(valid)
    if not options:
        return "there are none"
    close = get_close_matches(name, options, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    return f"valid are {', '.join(options)}" if len(options) <= 40 else f"there are {len(options)} valid names"
