"""Image captions in tables: CSV or TSV with a path and a caption column, or JSON lines of both."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import VitrailError
from ..plain import Unreadable, parse_json, short
from ..task_spec import TaskSpec
from .annotated import IMAGE_TEXT, Annotated, make_source, task_note
from .csv_columns import FOLD_COLUMNS, INDEX_COLUMNS, LABEL_COLUMNS, PATH_COLUMNS, SPLIT_COLUMNS, is_number, no_path_way
from .named_images import NamedImages, named_for
from .samples import SPLIT_WORDS, BadFile, Source, Split
from .table import Table, json_objects

CAPTION_COLUMNS = ("caption", "captions", "text", "texts", "title", "description", "comment")
"""Names of columns, in lower case, that have captions; the first two only have captions."""


@dataclass(slots=True)
class _Image:
    """What the rows of one image have."""

    split: Split | None
    missing: str = ""
    captions: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def caption_column(
    path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], task: TaskSpec | None
) -> int | None:
    """Find the column of captions of a table; None if the table is for another task.

    For `--task image-text` it is a column called so (`CAPTION_COLUMNS`), or the only one beside path and split.
    Otherwise only a table without a label column has captions, and one whose column is called text, title or
    description only if no other column has numbers to predict.

    Raises:
        VitrailError: the task needs captions, and no column can have them.
    """
    header = [name.lower() for name in names]
    named = next((header.index(word) for word in CAPTION_COLUMNS if word in header), None)
    known = {*PATH_COLUMNS, *SPLIT_COLUMNS, *FOLD_COLUMNS, *INDEX_COLUMNS, ""}
    others = [place for place, name in enumerate(header) if name not in known and place != named]
    if task is not None:
        if task.name != IMAGE_TEXT.name:
            return None
        if named is None and len(others) != 1:
            raise VitrailError(
                f"{path} has no column of captions among {', '.join(names)}, which --task {task} needs: call it caption"
            )
        return others[0] if named is None else named
    if named is None or any(word in header for word in LABEL_COLUMNS):
        return None
    is_certain = header[named] in CAPTION_COLUMNS[:2]
    return named if is_certain or not any(_has_numbers(rows, place) for place in others) else None


def caption_rows(table: Table, column: int, task: TaskSpec | None) -> Source:
    """Open a table of captions: several rows of an image are joined, and one bad row makes it a bad file.

    Args:
        table: the table.
        column: the column of captions.
        task: task given by the user.

    Raises:
        VitrailError: no path column, or no usable row.
    """
    names = table.names
    header = [name.lower() for name in names]
    place = next((header.index(word) for word in PATH_COLUMNS if word in header), None)
    if place is None:
        raise VitrailError(f"{table.path} has no path column among {', '.join(names)}: {no_path_way(names)}")
    split = next((header.index(word) for word in SPLIT_COLUMNS if word in header), None)

    def rows() -> Iterator[tuple[str, str, Any, str | None] | BadFile]:
        yield from table.bad
        for line, cells in table.lines:
            if len(cells) != len(names):
                reason = f"{len(cells)} cells, where the header has {len(names)} (line {line})"
                yield BadFile(cells[place] if place < len(cells) else f"line {line}", reason)
            else:
                yield f"line {line}", cells[place], _listed(cells[column]), None if split is None else cells[split]

    return _joined(table.path, table.base, rows(), f"captions from column {names[column]}", task)


def caption_lines(path: Path, task: TaskSpec | None) -> Source:
    """Open JSON lines, each an object with a path (`PATH_COLUMNS`) and a caption or a list of captions.

    Raises:
        VitrailError: no line can be used.
    """
    return _joined(path, path.parent, _json_rows(path), "captions from JSON lines", task)


def _json_rows(path: Path) -> Iterator[tuple[str, str, Any, str | None] | BadFile]:
    for row in json_objects(path):
        if isinstance(row, BadFile):
            yield row
            continue
        place, entry = row
        lower = {key.lower(): value for key, value in entry.items()}
        name = next((lower[word] for word in PATH_COLUMNS if word in lower), None)
        caption = next((lower[word] for word in CAPTION_COLUMNS if word in lower), None)
        split = next((lower[word] for word in SPLIT_COLUMNS if word in lower), None)
        if isinstance(name, str):
            yield f"line {place}", name, caption, split if isinstance(split, str) else None
        else:
            yield BadFile(f"line {place}", f"no path among {short(sorted(lower))}")


def _joined(
    path: Path, base: Path, rows: Iterable[tuple[str, str, Any, str | None] | BadFile], text: str, task: TaskSpec | None
) -> Source:
    """The source of rows: (line, path, caption or captions, split)."""
    images: dict[str, _Image] = {}
    found = list(rows)
    bad = [row for row in found if isinstance(row, BadFile)]
    usable = [row for row in found if not isinstance(row, BadFile)]
    files = NamedImages(base, (name for _, name, *_ in usable), named_for(path))
    for line, name, value, stated in usable:
        name, missing = files.find(name.strip()) if name.strip() else ("", "")
        word = (stated or "").strip().lower()
        image = images.setdefault(os.path.normpath(name) if name else line, _Image(SPLIT_WORDS.get(word), missing))
        captions, problem = _captions(value)
        image.captions += captions
        if not name:
            problem = "no path"
        elif stated is not None and word not in SPLIT_WORDS:
            problem = f"split {stated!r} is none of train, val, test"
        elif SPLIT_WORDS.get(word) != image.split:
            problem = "it is in two splits"
        if problem:
            image.problems.append(f"{problem} ({line})")
    annotated = [_annotated(base, name, image) for name, image in images.items()]
    notes = [task_note(task, IMAGE_TEXT, text), *files.notes]
    return make_source(str(path), annotated, class_names=(), task=IMAGE_TEXT, kind="texts", bad=bad, notes=notes)


def _annotated(base: Path, name: str, image: _Image) -> Annotated:
    full = os.path.join(base, name)
    problems = image.problems or ([image.missing] if image.missing else [])
    return Annotated(name, full, image.split, tuple(dict.fromkeys(image.captions)), problems=tuple(problems))


def _listed(cell: str) -> Any:
    """The captions of a cell that is a list in JSON, as `read_json_lines` writes one; any other cell as it is."""
    if not cell.lstrip().startswith("["):
        return cell
    try:
        return parse_json(cell)
    except Unreadable:  # a caption that starts with a bracket
        return cell


def _captions(value: Any) -> tuple[list[str], str]:
    """Captions of a row, one line each, and what is wrong with them."""
    values = value if isinstance(value, list) else [value]
    if not values or any(each is None or (isinstance(each, str) and not each.strip()) for each in values):
        return [], "an empty caption"
    if wrong := [each for each in values if not isinstance(each, str)]:
        return [], f"the caption is {short(wrong[0])}, not text"
    return [" ".join(each.split()) for each in values], ""


def _has_numbers(rows: Sequence[Sequence[str]], column: int) -> bool:
    """Whether more than half of the cells of a column are numbers."""
    return 2 * sum(is_number(row[column]) for row in rows if column < len(row)) > len(rows)
