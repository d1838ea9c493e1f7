"""Braces in names of files, as in a shell: `shard-{000000..000127}.tar`, `{train,val}.tar`."""

import re

from ..errors import VitrailError

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})", re.ASCII)
_MOST = 100_000
"""Largest number of names that a text may stand for."""


def expand_braces(text: str) -> list[str]:
    """Return the names that a text stands for, in order; the text itself if it has no braces.

    >>> expand_braces("s-{08..10}.tar")
    ['s-08.tar', 's-09.tar', 's-10.tar']

    Raises:
        VitrailError: more than 100,000 names.
    """
    found = next((match for match in _BRACES.finditer(text) if _choices(match[1])), None)
    if found is None:
        return [text]
    before, after = text[: found.start()], text[found.end() :]
    names: list[str] = []
    for choice in _choices(found[1]):
        names += expand_braces(f"{before}{choice}{after}")
        _require_few(text, len(names))
    return list(dict.fromkeys(names))  # nested braces are expanded from the inside, which repeats what is outside


def _choices(inside: str) -> list[str]:
    """Texts that stand for a pair of braces; empty if these are no braces of a shell."""
    span = _RANGE.fullmatch(inside)
    if span is None:
        return inside.split(",") if "," in inside else []
    first, last = int(span[1]), int(span[2])
    _require_few(inside, abs(last - first))
    step = 1 if first <= last else -1
    return [str(number).zfill(_width(span[1], span[2])) for number in range(first, last + step, step)]


def _width(first: str, last: str) -> int:
    """Digits of each number: as in bash, those of the longer end if one of them begins with 0."""
    padded = any(len(end) > 1 and end.startswith("0") for end in (first, last))
    return max(len(first), len(last)) if padded else 0


def _require_few(text: str, count: int) -> None:
    if count > _MOST:
        raise VitrailError(f"{text} stands for more than {_MOST:,} names: use fewer numbers in braces")
