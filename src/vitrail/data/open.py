"""From what the user names to samples: one door for folders, tables, shards and named sets.

Nothing is decoded here: opening 50,000 files takes well under a second. `survey` opens each of them.
"""

import glob
import os
from difflib import get_close_matches
from pathlib import Path

from jaxtyping import Shaped
from torch import Tensor

from ..errors import VitrailError
from .csv_source import csv_table
from .decode import BadImage, decode
from .folders import class_folders, image_files, is_image
from .named import TORCHVISION, is_named, named_set
from .samples import BadFile, FileAt, Location, MemberAt, RowAt, Sample, Source, Split, natural
from .shards import is_shard, shards_in, tar_shards

__all__ = [
    "BadFile",
    "BadImage",
    "FileAt",
    "Location",
    "MemberAt",
    "RowAt",
    "Sample",
    "Source",
    "Split",
    "open_source",
    "read_image",
]

_TABLES = (".csv", ".tsv")


def open_source(spec: str | Path, *, labelled: bool = True) -> Source:
    """Find the images of `spec`, and with `labelled` their classes.

    `spec` is a folder (class folders, or tar shards), a CSV, a tar shard or a glob of shards, `digits`, or
    one of torchvision's sets (`cifar10`, `torchvision:cifar10`). An existing path wins over a name. With
    `labelled=False` it may also be an image, a folder with images at any depth, or a glob of images, and no
    sample has a label.

    Raises:
        VitrailError: if nothing usable is there; the message says what was expected.
    """
    text = os.path.expanduser(os.fspath(spec))
    path = Path(text)
    try:
        if path.is_dir():
            return _folder(path, labelled)
        if path.exists():
            return _file(path, labelled)
        if is_named(text):
            return named_set(text, labelled=labelled)
        if glob.has_magic(text):
            return _pattern(text, labelled)
    except OSError as error:
        raise VitrailError(f"{text} cannot be read: {error.strerror or error}") from error
    raise VitrailError(_missing(text))


def read_image(sample: Sample, channels: int | None = None) -> Shaped[Tensor, "C H W"]:
    """The image of a sample, brought to `channels` (None: its own); see `vitrail.data.decode` for the rules.

    Raises:
        BadImage: if it cannot be read or decoded.
    """
    try:
        data = sample.location.read()
    except OSError as error:
        raise BadImage(sample.name, error.strerror or str(error)) from error
    return decode(data, channels, name=sample.name)


def _folder(path: Path, labelled: bool) -> Source:
    shards = shards_in(path)
    if shards:
        return tar_shards(str(path), shards, labelled=labelled)
    return class_folders(path) if labelled else image_files(str(path))


def _file(path: Path, labelled: bool) -> Source:
    if path.suffix.lower() in _TABLES:
        return csv_table(path, labelled=labelled)
    if is_shard(path.name):
        return tar_shards(str(path), [path], labelled=labelled)
    if labelled:
        kind = "one image" if is_image(path.name) else "neither a folder, a CSV nor a tar shard"
        raise VitrailError(f"{path} is {kind}: name a folder of class folders, a .csv with path,label, or .tar shards")
    return image_files(str(path))


def _pattern(text: str, labelled: bool) -> Source:
    hits = sorted(glob.glob(text, recursive=True), key=natural)
    shards = [Path(hit) for hit in hits if is_shard(hit)]
    if shards:
        return tar_shards(text, shards, labelled=labelled)
    if labelled:
        raise VitrailError(f"{text} matches no tar shard, and images alone have no labels: name a folder or a CSV")
    return image_files(text)


def _missing(text: str) -> str:
    """Say that nothing is there, with the nearest path or name."""
    parent, name = os.path.split(text.rstrip("/"))
    around = os.listdir(parent or ".") if os.path.isdir(parent or ".") else []
    known = around if parent else [*around, "digits", *TORCHVISION]
    close = [os.path.join(parent, match) for match in get_close_matches(name, known, n=3, cutoff=0.6)]
    if close:
        return f"{text} does not exist: did you mean {' or '.join(close)}?"
    if around or not parent:
        return f"{text} does not exist: name a folder, a CSV, tar shards, digits or one of torchvision's sets"
    return f"{text} does not exist, nor does {parent}/"
