"""Opens sources: folders, tables, shards, named sets and those of plugins.

Nothing is decoded here: opening 50,000 files takes well under a second. `survey` decodes each of them.
"""

import glob
import os
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jaxtyping import Shaped
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import TypeIs

from ..errors import VitrailError
from ..plugins import find_plugin, plugin_names
from ..task_spec import CLASSIFICATION, REGRESSION, TaskSpec
from .csv_source import csv_source
from .decode import BadImage, decode
from .folder_source import class_folders, image_files, is_image
from .named_source import TORCHVISION, is_named, named_set
from .python_source import source_from_dataset, source_from_images
from .samples import BadFile, FileAt, Location, MemberAt, RowAt, Sample, Source, Split, natural, takes_many
from .shard_source import is_shard, shards_in, tar_shards

__all__ = [
    "BadFile",
    "BadImage",
    "FileAt",
    "Location",
    "MemberAt",
    "RowAt",
    "Sample",
    "Source",
    "SourceLike",
    "Split",
    "is_source",
    "open_source",
    "read_bytes",
    "read_image",
    "source_from_dataset",
    "source_from_images",
    "source_name",
]

_TABLES = (".csv", ".tsv")


SourceLike = Source | Dataset[Any] | str | os.PathLike[str]
"""A `Source`, a torch Dataset (see `source_from_dataset`), or the text or path that names a source."""

Opener = Callable[[str, bool], Source]
"""A plugin's source: (text after "name:", whether to read labels) -> Source."""


def open_source(
    spec: SourceLike, *, labelled: bool = True, task: TaskSpec | None = None, strict: bool = True
) -> Source:
    """Open a source: find the images of `spec` and, with `labelled`, their classes or numbers.

    `spec` is a folder (class folders, or tar shards), a CSV, a tar shard or a glob of shards, `digits`, one of
    torchvision's sets (`cifar10`, `torchvision:cifar10`), a source of another package (`name` or `name:rest`, entry
    point group `vitrail.sources`), a torch Dataset, or a source that was made in Python. An existing path wins over a
    name.

    Args:
        spec: the source.
        labelled: False also takes an image, a folder with images at any depth, or a glob of images, and no sample has a
            label.
        task: task of the labels; None infers it from them.
        strict: False also takes damaged files that can still be decoded, such as JPEGs of which a part is grey.

    Raises:
        VitrailError: there is nothing usable, or its labels do not fit the task.
    """
    source = _found(spec, labelled, task)
    if not strict:
        source = replace(source, samples=tuple(replace(sample, strict=False) for sample in source.samples))
    if not labelled:
        return _without_labels(source)
    if task is not None:
        return _with_task(source, task)
    note = f"task {source.task.name}: {len(source.class_names)} {source.label_kind}"
    return source if source.notes else replace(source, notes=(note,))


def is_source(value: object) -> TypeIs[SourceLike]:
    """Whether a value is a `Source`, a torch Dataset, a text or a path."""
    return isinstance(value, Source | Dataset | str | os.PathLike)


def source_name(spec: SourceLike) -> str:
    """Name of a source in messages and of its run folder; a Dataset is named "dataset"."""
    if isinstance(spec, Dataset):
        return "dataset"
    return spec.name if isinstance(spec, Source) else os.fspath(spec)


def read_image(
    sample: Sample, channels: int | None = None, *, then: Callable[[Tensor], Tensor] | None = None
) -> Shaped[Tensor, "C H W"]:
    """Read the image of a sample, converted to `channels` (None: its own); see `vitrail.data.decode` for the rules.

    Args:
        sample: the sample.
        channels: number of channels.
        then: applied to the image while its memory is reserved, see `decode`.

    Raises:
        BadImage: the image cannot be read or decoded.
    """
    return decode(read_bytes(sample), channels, name=sample.name, strict=sample.strict, then=then)


def read_bytes(sample: Sample) -> bytes:
    """Read the bytes of a sample's image file.

    Raises:
        BadImage: they cannot be read, whatever error the location raises.
    """
    try:
        return sample.location.read()
    except OSError as error:
        raise BadImage(sample.name, error.strerror or str(error)) from error
    except Exception as error:  # a location of another package: one bad image, not the end of the table
        raise BadImage(sample.name, f"cannot be read ({type(error).__name__}: {error})") from error


def _found(spec: SourceLike, labelled: bool, task: TaskSpec | None) -> Source:
    if isinstance(spec, Source):
        return spec
    if isinstance(spec, Dataset):
        return source_from_dataset(spec, labelled=labelled)
    if isinstance(spec, str | os.PathLike):
        return _open(os.path.expanduser(os.fspath(spec)), labelled, task)
    raise VitrailError(
        f"a {type(spec).__name__} is no source: name files, give a torch Dataset, or make one with "
        "source_from_images(...)"
    )


def _open(text: str, labelled: bool, task: TaskSpec | None) -> Source:
    path = Path(text)
    try:
        if path.is_dir():
            return _folder(path, labelled)
        if path.exists():
            return _file(path, labelled, task)
        if is_named(text):
            return named_set(text, labelled=labelled)
        if opener := _opener(text):
            return _of_another_package(opener, text, labelled)
        if glob.has_magic(text):
            return _pattern(text, labelled)
    except OSError as error:
        raise VitrailError(f"{text} cannot be read: {error.strerror or error}") from error
    raise VitrailError(_missing(text))


def _folder(path: Path, labelled: bool) -> Source:
    shards = shards_in(path)
    if shards:
        return tar_shards(str(path), shards, labelled=labelled)
    return class_folders(path) if labelled else image_files(str(path))


def _file(path: Path, labelled: bool, task: TaskSpec | None) -> Source:
    if path.suffix.lower() in _TABLES:
        return csv_source(path, labelled=labelled, task=task)
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


def _opener(text: str) -> Opener | None:
    name = text.partition(":")[0]
    return find_plugin("source", name) if name and os.sep not in name else None


def _of_another_package(opener: Opener, text: str, labelled: bool) -> Source:
    source = opener(text.partition(":")[2], labelled)
    if not isinstance(source, Source):
        raise VitrailError(f"source {text!r} of another package returned {type(source).__name__} instead of a Source")
    return source


def _without_labels(source: Source) -> Source:
    if not source.class_names and not any(sample.labels for sample in source.samples):
        return source
    samples = tuple(replace(sample, labels=()) for sample in source.samples)
    return replace(source, class_names=(), samples=samples, label_kind="classes", notes=())


def _with_task(source: Source, task: TaskSpec) -> Source:
    """Return the source for another task, if its labels fit that task."""
    if task.name == REGRESSION.name and source.label_kind != "numbers":
        raise VitrailError(
            f"{source.name} has classes, and --task {task} needs numbers: name a CSV with columns of numbers"
        )
    if task.name == CLASSIFICATION.name:
        if source.label_kind != "classes":
            raise VitrailError(
                f"{source.name} has numbers, and --task {task} needs classes: leave --task out, or use {REGRESSION}"
            )
        if not takes_many(task) and any(len(sample.labels) != 1 for sample in source.samples):
            raise VitrailError(
                f"{source.name} has images with several classes or none, and --task {task} needs one: leave --task out"
            )
    return replace(source, task=task)


def _missing(text: str) -> str:
    """Message for a source that does not exist, with the nearest path or name."""
    parent, name = os.path.split(text.rstrip("/"))
    around = os.listdir(parent or ".") if os.path.isdir(parent or ".") else []
    known = around if parent else [*around, "digits", *TORCHVISION, *plugin_names("source")]
    close = [os.path.join(parent, match) for match in get_close_matches(name, known, n=3, cutoff=0.6)]
    if close:
        return f"{text} does not exist: did you mean {' or '.join(close)}?"
    if around or not parent:
        return f"{text} does not exist: name a folder, a CSV, tar shards, digits or one of torchvision's sets"
    return f"{text} does not exist, nor does {parent}/"
