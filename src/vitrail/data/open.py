"""Opens sources: folders, tables, shards, named sets and those of plugins.

No image is decoded here: opening 50,000 files takes well under a second, with 350,000 boxes some seconds. `survey`
decodes each of them. Only masks are read at once, and remembered: their values show how classes are coded.
"""

import glob
import os
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset
from typing_extensions import TypeIs

from ..errors import VitrailError
from ..plugins import find_plugin, plugin_names
from ..task_spec import CLASSIFICATION, VIDEO, TaskSpec
from .annotated import ANNOTATIONS
from .braces import expand_braces
from .clip_source import clip_files
from .decode import BadImage
from .folder_formats import folder_format, no_annotations
from .folder_source import class_folders, has_images, image_files, is_image
from .python_source import source_from_dataset, source_from_images
from .read_sample import read_bytes, read_image
from .relabelled import as_clips, with_task, without_labels
from .samples import BadFile, FileAt, Location, MemberAt, RowAt, Sample, Source, Split, natural
from .shard_source import SHARD_SUFFIXES, is_shard, shards_in, tar_shards
from .torchvision_source import TORCHVISION
from .video_file import is_video

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

SourceLike = Source | Dataset[Any] | str | os.PathLike[str]
"""A `Source`, a torch Dataset (see `source_from_dataset`), or the text or path that names a source."""

Opener = Callable[[str, bool, TaskSpec | None], Source]
"""A source with a name, also of a plugin: (text after "name:", whether to read labels, task or None) -> Source."""

FileOpener = Callable[[Path, bool, TaskSpec | None], Source]
"""A source in a file: (path, whether to read labels, task or None) -> Source."""

NAMES = {
    "digits": "digits_source:digits",
    "scenes": "scenes.source:scenes_source",
    "torchvision": "torchvision_source:torchvision_set",
}
"""Name -> file and `Opener`. The names of torchvision's sets alone are short for `torchvision:NAME`."""

SUFFIXES = {
    ".token.txt": "table_source:token_source",
    ".csv": "table_source:csv_source",
    ".tsv": "table_source:csv_source",
    ".txt": "table_source:csv_source",
    ".token": "table_source:token_source",
    ".jsonl": "table_source:json_source",
    ".json": "coco_source:coco_file",
    ".yaml": "yolo_source:yolo_yaml",
    ".yml": "yolo_source:yolo_yaml",
    **dict.fromkeys(SHARD_SUFFIXES, "shard_source:tar_shard"),
}
"""End of a file's name, in lower case -> file and `FileOpener`."""


def open_source(
    spec: SourceLike,
    *,
    labelled: bool = True,
    task: TaskSpec | str | None = None,
    prefer: TaskSpec | None = None,
    strict: bool = True,
) -> Source:
    """Open a source: find the images of `spec` and, with `labelled`, their classes or numbers.

    `spec` is a folder (class folders, images with annotations in one of `folder_formats`, or tar shards), a CSV, a COCO
    JSON, a data.yaml of YOLO, JSON lines of captions, a tar shard or a glob of shards, `digits`, `scenes`, one of
    torchvision's sets (`cifar10`, `torchvision:cifar10`), a source of another package (`name` or `name:rest`, entry
    point group `vitrail.sources`), a torch Dataset, or a source that was made in Python. An existing path wins over a
    name.

    Args:
        spec: the source.
        labelled: False also takes an image, a folder with images at any depth, or a glob of images, and no sample has a
            label.
        task: task of the labels, also as text such as "regression"; None infers it from them.
        prefer: without `task`, the task to take the labels for from a source that has some for several, such as
            `scenes` or a COCO JSON; tables and class folders pay no attention to it.
        strict: False also takes damaged files that can still be decoded, such as JPEGs of which a part is grey.

    Raises:
        VitrailError: there is nothing usable, or its labels do not fit the task.
    """
    if isinstance(task, str):
        task = TaskSpec.parse(task)
    if task is None and prefer is not None and prefer.name == VIDEO.name:
        task = TaskSpec(VIDEO.name)  # a model for clips takes any files for clips, whatever their labels are
    source = _found(spec, labelled, task, prefer)
    if not strict:
        source = replace(source, samples=tuple(replace(sample, strict=False) for sample in source.samples))
    if not labelled:
        source = without_labels(source)
        return as_clips(source) if task is not None and task.name == VIDEO.name else source
    if task is not None:
        return with_task(source, task)
    if any(note.startswith("task ") for note in source.notes):
        return source
    note = f"task {source.task.name}: {len(source.class_names)} {source.label_kind}"
    return replace(source, notes=(note, *source.notes))


def is_source(value: object) -> TypeIs[SourceLike]:
    """Whether a value is a `Source`, a torch Dataset, a text or a path."""
    return isinstance(value, Source | Dataset | str | os.PathLike)


def source_name(spec: SourceLike) -> str:
    """Name of a source in messages and of its run folder; a Dataset is named "dataset"."""
    if isinstance(spec, Dataset):
        return "dataset"
    return spec.name if isinstance(spec, Source) else os.fspath(spec)


def _found(spec: SourceLike, labelled: bool, task: TaskSpec | None, prefer: TaskSpec | None) -> Source:
    if isinstance(spec, Source):
        return spec
    if isinstance(spec, Dataset):
        return source_from_dataset(spec, labelled=labelled)
    if isinstance(spec, str | os.PathLike):
        return _open(os.path.expanduser(os.fspath(spec)), labelled, task, prefer)
    raise VitrailError(
        f"a {type(spec).__name__} is no source: name files, give a torch Dataset, or make one with "
        "source_from_images(...)"
    )


def _open(text: str, labelled: bool, task: TaskSpec | None, prefer: TaskSpec | None) -> Source:
    path = Path(text)
    if task is None and prefer is not None and prefer.name in ANNOTATIONS:
        task = TaskSpec(prefer.name)
    try:
        if path.is_dir():
            return _folder(path, labelled, task, prefer)
        if path.exists():
            return _file(path, labelled, task)
        name, _, rest = ("torchvision", "", text) if text in TORCHVISION else text.partition(":")
        if name in NAMES:
            opened: Source = _built_in(NAMES[name])(rest, labelled, task or prefer)
            return replace(opened, name=text)
        if opener := _opener(text):
            return _of_another_package(opener, text, labelled, task or prefer)
        if glob.has_magic(text) or len(expand_braces(text)) > 1:
            return _pattern(text, labelled, task)
    except OSError as error:
        where = f" ({error.filename})" if error.filename not in (None, text) else ""
        raise VitrailError(f"{text} cannot be read: {error.strerror or error}{where}") from error
    raise VitrailError(_missing(text))


def _built_in(place: str) -> Callable[..., Source]:
    """Import an opener of `NAMES` or `SUFFIXES`."""
    module, _, function = place.partition(":")
    found: Callable[..., Source] = vars(import_module(f".{module}", __package__))[function]
    return found


def _folder(path: Path, labelled: bool, task: TaskSpec | None, prefer: TaskSpec | None) -> Source:
    """Open a folder. Images in it win over archives beside them, such as the one that it was unpacked from.

    For a classifier, class folders win over annotations.
    """
    wanted = CLASSIFICATION if task is None and prefer is not None and prefer.name == CLASSIFICATION.name else task
    if (found := folder_format(path, wanted, labelled=labelled)) is not None:
        return found.open(path, labelled, task)
    shards = shards_in(path)
    if shards and not has_images(path, below_only=labelled):
        return tar_shards(str(path), shards, labelled=labelled, task=task)
    if labelled and task is not None and task.name in ANNOTATIONS:
        raise VitrailError(no_annotations(path, task))
    source = class_folders(path) if labelled else image_files(str(path))
    if not shards:
        return source
    more = f" and {len(shards) - 1} more" if len(shards) > 1 else ""
    note = f"the images in {path} are used, not the archive {shards[0].name}{more} beside them: name it to use it"
    return replace(source, notes=(*source.notes, note))


def _file(path: Path, labelled: bool, task: TaskSpec | None) -> Source:
    place = next((place for suffix, place in SUFFIXES.items() if path.name.lower().endswith(suffix)), None)
    if place is not None:
        return _built_in(place)(path, labelled, task)
    if not labelled and ((task is not None and task.name == VIDEO.name) or is_video(path.name)):
        return clip_files(str(path))
    if labelled:
        kind = "one image" if is_image(path.name) else "neither a folder, a CSV nor a tar shard"
        raise VitrailError(f"{path} is {kind}: name a folder of class folders, a .csv with path,label, or .tar shards")
    return image_files(str(path))


def _pattern(text: str, labelled: bool, task: TaskSpec | None) -> Source:
    hits: list[str] = []
    for part in expand_braces(text):
        found = sorted(glob.glob(part, recursive=True), key=natural) if glob.has_magic(part) else [part]
        if not all(map(os.path.lexists, found)):
            raise VitrailError(f"{part} of {text} does not exist: correct the numbers in braces")
        hits += found
    shards = [Path(hit) for hit in hits if is_shard(hit) and os.path.isfile(hit)]
    if shards:
        return tar_shards(text, shards, labelled=labelled, task=task)
    if not labelled and task is not None and task.name == VIDEO.name:
        return clip_files(text, hits)
    if labelled:
        raise VitrailError(f"{text} matches no tar shard, and images alone have no labels: name a folder or a CSV")
    return image_files(text, hits)


def _opener(text: str) -> Opener | None:
    name = text.partition(":")[0]
    return find_plugin("source", name) if name and os.sep not in name else None


def _of_another_package(opener: Opener, text: str, labelled: bool, task: TaskSpec | None) -> Source:
    source = opener(text.partition(":")[2], labelled, task)
    if not isinstance(source, Source):
        raise VitrailError(f"source {text!r} of another package returned {type(source).__name__} instead of a Source")
    return source


def _missing(text: str) -> str:
    """Message for a source that does not exist, with the nearest path or name."""
    parent, name = os.path.split(text.rstrip("/"))
    around = os.listdir(parent or ".") if os.path.isdir(parent or ".") else []
    known = around if parent else [*around, *NAMES, *TORCHVISION, *plugin_names("source")]
    close = [os.path.join(parent, match) for match in get_close_matches(name, known, n=3, cutoff=0.6)]
    if close:
        return f"{text} does not exist: did you mean {' or '.join(close)}?"
    if not parent or os.path.isdir(parent):
        return f"{text} does not exist: name a folder, a CSV, tar shards, digits, scenes or one of torchvision's sets"
    return f"{text} does not exist, nor does {parent}/"
