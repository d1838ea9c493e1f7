"""Files that cannot be used: the error that names them, and the table that lists all of them."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..errors import VitrailError
from ..tables import write_csv
from .samples import BadFile

_NAMED = 10


class BadFiles(VitrailError):  # noqa: N818 - it names the things, as BadImage does
    """Files of a source cannot be used; the message names the first ones and counts the reasons.

    Args:
        headline: what is wrong, without a colon: "12 bad files in flowers".
        bad: all of them.
        way_out: what to do, the last line of the message.
        source: name of the source.

    Attributes:
        bad: all of them.
        source: name of the source.
        all_named: whether the message names all of them.
    """

    def __init__(self, headline: str, bad: Sequence[BadFile], way_out: str, source: str) -> None:
        if any(entry.reason.startswith("damaged") for entry in bad):
            way_out += "; --no-strict takes damaged files of which a part can still be decoded"
        super().__init__("\n".join([f"{headline}:", *_first(bad), way_out]))
        self.bad = tuple(bad)
        self.source = source
        self.all_named = len(self.bad) <= _NAMED


def none_readable(bad: Sequence[BadFile]) -> BadFiles:
    """Error for images of which none could be read."""
    return BadFiles("none of the images could be read", bad, "mend them, or name others", "images")


def require_readable(readable: int, bad: Sequence[BadFile]) -> None:
    """Raise an error if none of the images that the user named could be read."""
    if not readable and not bad:
        raise VitrailError("no image was named: give files, folders or globs")
    if not readable:
        raise none_readable(bad)


def bad_file_count(count: int) -> str:
    """Return a number of bad files in words: "1 bad file"."""
    return f"{count:,} bad file{'s' * (count != 1)}"


def left_out(bad: Sequence[BadFile], source: str) -> list[str]:
    """Return sentences on files that were left out; if they are many, `write_table` lists all of them.

    Args:
        bad: the files, in the order of the source; the same file may occur several times.
        source: name of the source.
    """
    files = list(dict.fromkeys(bad))
    if not files:
        return []
    listed = [] if len(files) <= _NAMED else [write_table(files, source)]
    return ["\n".join([f"left out {bad_file_count(len(files))} of {source}:", *_first(files), *listed])]


def write_table(bad: Sequence[BadFile], source: str) -> str:
    """Write the table SOURCE.bad_files.csv to the current folder, replacing that of an earlier command.

    Returns:
        a sentence with its place, or with the reason why it could not be written: the command goes on.
    """
    stem = re.sub(r"[^\w.-]+", "_", Path(source).name).strip("._") or "source"
    path = Path(f"{stem}.bad_files.csv")
    try:
        write_bad_files(path, bad)
    except OSError as error:
        return f"the table of all of them could not be written: {error}"
    return f"all of them are listed in {path}"


def write_bad_files(path: Path, bad: Sequence[BadFile]) -> None:
    """Write the table of bad files, with the columns path and reason."""
    write_csv(path, [("path", "reason"), *((entry.name, entry.reason) for entry in bad)])


def _first(bad: Sequence[BadFile]) -> list[str]:
    """Lines that name the first files; if there are more, another one with all reasons."""
    lines = [f"  {entry.name}: {entry.reason}" for entry in bad[:_NAMED]]
    if len(bad) > len(lines):
        counts = Counter(entry.reason.split(" (")[0].split(":")[0] for entry in bad)
        reasons = ", ".join(f"{count} × {reason}" for reason, count in counts.most_common())
        lines.append(f"  and {len(bad) - len(lines)} more; in all: {reasons}")
    return lines
