"""Folders of images with a table of their labels or captions, `metadata.csv` or `metadata.jsonl`.

The form of the Hugging Face Hub's image folders: the column `file_name` has paths relative to the table, which is in
the folder itself or in each of `train/`, `val/` and `test/`.
"""

import os
import re
from pathlib import Path

from ..errors import VitrailError
from ..task_spec import TaskSpec
from .annotated import IMAGE_TEXT
from .caption_table import CAPTION_COLUMNS
from .csv_columns import LABEL_COLUMNS, PATH_COLUMNS, SPLIT_COLUMNS
from .folder_source import subfolders
from .samples import SPLIT_WORDS, BadFile, Source
from .table import Table, read_csv, read_json_lines
from .table_source import table_source

TASKS = ("classification", "regression", "image-text")

_PATH = "file_name"
_LONGEST = 1 << 16
"""Bytes of a first line that are looked at."""
_READERS = {"metadata.csv": read_csv, "metadata.jsonl": read_json_lines}


def matches(root: Path, task: TaskSpec | None) -> bool:
    """Whether a folder has such tables, with a column of captions or of labels as the task needs it."""
    captions = {IMAGE_TEXT.name: CAPTION_COLUMNS}
    wanted = {*LABEL_COLUMNS, *CAPTION_COLUMNS} if task is None else {*captions.get(task.name, LABEL_COLUMNS)}
    columns = {name for folder, name in _files(root) for name in _first_names(root / folder / name)}
    return _PATH in columns and bool(columns & wanted)


def open_folder(root: Path, labelled: bool, task: TaskSpec | None) -> Source:
    """Open the tables of a folder as one.

    Raises:
        VitrailError: no labels, or no usable row.
    """
    return table_source(_joined(root, _tables(root)), labelled, task)


def _tables(root: Path) -> list[tuple[str, Table]]:
    """(folder, table) of the folder itself, or of its splits.

    Raises:
        VitrailError: a folder has two tables, which would give each image twice.
    """
    files = _files(root)
    for folder, _ in files:
        if sum(other == folder for other, _ in files) > 1:
            raise VitrailError(f"{root / folder} has {' and '.join(_READERS)}: keep one of them")
    return [(folder, _READERS[name](root / folder / name)) for folder, name in files]


def _files(root: Path) -> list[tuple[str, str]]:
    """(folder, name) of the tables."""
    folders = [name for name in subfolders(root) if name.lower() in SPLIT_WORDS]
    return [(folder, name) for folder in ("", *folders) for name in _READERS if (root / folder / name).is_file()]


def _first_names(path: Path) -> set[str]:
    """Names of columns in lower case, from the first line: the rest may be broken, which opening the table says."""
    with path.open("rb") as file:
        line = file.readline(_LONGEST).decode("utf-8-sig", errors="replace")
    names = re.findall(r'"(\w+)"\s*:', line) if path.suffix == ".jsonl" else re.split(r"[,;\t|]", line)
    return {name.strip().strip('"').lower() for name in names}


def _joined(root: Path, tables: list[tuple[str, Table]]) -> Table:
    """One table, with paths relative to the root; rows in the folder of a split have it, if they state no other."""
    others = {*PATH_COLUMNS} - {_PATH}  # such as the name that a file once had
    names = list(dict.fromkeys(name for _, table in tables for name in table.names if name.lower() not in others))
    split = next((name for name in names if name.lower() in SPLIT_COLUMNS), SPLIT_COLUMNS[0])
    if split not in names and any(folder for folder, _ in tables):
        names.append(split)
    lines, bad = list[tuple[int, list[str]]](), list[BadFile]()
    for folder, table in tables:
        bad += [BadFile(os.path.join(folder, each.name), each.reason) for each in table.bad]
        for place, cells in table.lines:
            if len(cells) != len(table.names):
                where = os.path.join(folder, f"line {place}")
                bad.append(BadFile(where, f"{len(cells)} cells, where the header has {len(table.names)}"))
                continue
            row = dict.fromkeys(names, "") | ({split: folder} if folder else {})
            row |= {name: cell for name, cell in zip(table.names, cells, strict=True) if cell or name not in row}
            lines.append((place, [_placed(folder, name, row[name]) for name in names]))
    return Table(root, root, names, lines, tuple(bad))


def _placed(folder: str, name: str, cell: str) -> str:
    return os.path.join(folder, cell) if name.lower() == _PATH and cell else cell
