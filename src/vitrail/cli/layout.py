"""Layout of plain text for a terminal: wrapped paragraphs, and two columns of headings and texts."""

import shutil
import textwrap
from collections.abc import Iterable, Sequence

_LEAST, _MOST = 40, 120
_COLUMN = 30  # largest column of the texts of pairs


def terminal_width() -> int:
    """Width of help pages: that of the terminal, or $COLUMNS if set, between 40 and 120."""
    return min(max(shutil.get_terminal_size().columns, _LEAST), _MOST)


def wrapped(text: str, width: int, indent: str = "") -> str:
    """Paragraphs (separated by an empty line) in lines of at most `width`; all but the first line are indented."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n")]
    return "\n\n".join(
        textwrap.fill(paragraph, width, subsequent_indent=indent, break_on_hyphens=False) for paragraph in paragraphs
    )


def pairs(rows: Sequence[tuple[str, str]], width: int, column: int | None = None) -> str:
    """Format two columns: a heading, and its text beside it, or below if the heading is too long.

    Args:
        rows: (heading, text).
        width: maximum length of a line.
        column: column of the texts; by default after the longest heading, at most 30.
    """
    column = column or min(_COLUMN, max((len(heading) for heading, _ in rows), default=0) + 4)
    lines = []
    for heading, text in rows:
        body = textwrap.wrap(text, width - column, break_on_hyphens=False) or [""]
        if len(heading) + 4 > column:
            lines.append(f"  {heading}")
        else:
            lines.append(f"  {heading:<{column - 2}}{body.pop(0)}".rstrip())
        lines += [" " * column + line for line in body]
    return "\n".join(lines)


def grouped(groups: Iterable[tuple[str, Sequence[tuple[str, str]]]], width: int) -> str:
    """Format pairs under the names of their groups, with all texts in one column."""
    listed = [(group, list(rows)) for group, rows in groups]
    column = max((len(heading) for _, rows in listed for heading, _ in rows), default=0) + 4
    return "\n\n".join(f"{group}:\n{pairs(rows, width, column)}" for group, rows in listed)
