"""Sources made in Python: from images or paths with labels, or from a torch Dataset."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from ..errors import VitrailError
from ..task_spec import CLASSIFICATION, MULTI_LABEL, REGRESSION
from .decode import BadImage
from .in_memory import ImageLike, clip_tensor, image_tensor
from .samples import BadFile, FileAt, LabelKind, Location, Sample, Source, Split, natural

Labels = Sequence[Any] | np.ndarray | Tensor
"""Labels of images, one entry each; see `source_from_images`."""

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")


class ItemDataset(Protocol):
    """A torch Dataset with random access, whose items are (image, label)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


@runtime_checkable
class NamesClasses(Protocol):
    """A Dataset with names of its classes, as those of torchvision."""

    classes: Sequence[Any]


def source_from_images(
    images: Sequence[ImageLike | str | os.PathLike[str]] | np.ndarray | Tensor,
    labels: Labels | None = None,
    *,
    class_names: Sequence[str] | None = None,
    splits: Sequence[Split | None] | None = None,
    name: str = "images",
) -> Source:
    """Make a source of images in memory or of image files: `train(source_from_images(images, labels))`.

    Args:
        images: Pillow images, arrays, tensors or paths; or one array or tensor with a batch axis.
        labels: one for each image; None: no labels. A str or int is a class; a float (a whole number too) is a number
            to predict; a list of str or int is any number of classes, a list of floats several numbers. An array
            (n, K) has flags 0 and 1 of K classes if its type is integer or bool, and K numbers if it is float.
        class_names: names of the classes that ints index, or of the numbers. By default strings in natural order,
            or "0", "1", ...
        splits: "train", "val" or "test" for each image; None: vitrail splits the images.
        name: name of the source in messages and of its run folder.

    Raises:
        VitrailError: different numbers of images and labels, labels of mixed types, or a class without a name.
    """
    where = [_location(image, f"{name}/{i}") for i, image in enumerate(images)]
    names = [at.path if isinstance(at, FileAt) else f"{name}/{i}" for i, at in enumerate(where)]
    return _source(name, names, where, labels, class_names, splits)


def source_from_dataset(
    dataset: ItemDataset | Dataset[Any],
    *,
    labelled: bool = True,
    labels: Labels | None = None,
    class_names: Sequence[str] | None = None,
    splits: Sequence[Split | None] | None = None,
    name: str = "dataset",
) -> Source:
    """Make a source of a torch Dataset with items (image, label), which are read when they are needed.

    Args:
        dataset: has a length; its images are Pillow images, arrays or tensors that are not normalised.
        labelled: False ignores labels, and also takes items that are an image alone.
        labels: labels of all items, such as `dataset.targets`; None reads each item once to find its label.
        class_names: by default `dataset.classes`, also of the dataset inside a `Subset` or `ConcatDataset`; without
            these, strings in natural order, or "0", "1", ...
        splits, name: see `source_from_images`.

    Raises:
        VitrailError: the dataset has no length, items are not pairs, joined datasets have different classes; see
            `source_from_images`.
    """
    items = _with_length(dataset)
    where = [ItemAt(items, i) for i in range(len(items))]
    names = [f"{name}/{i}" for i in range(len(where))]
    if not labelled:
        return _source(name, names, where, None, None, splits)
    known = class_names or _classes_of(dataset)
    if labels is not None:
        return _source(name, names, where, labels, known, splits)
    found, bad = _labels_of_items(items, names)
    read = [i for i, file_name in enumerate(names) if file_name not in bad]
    parts = [splits[i] for i in read] if splits is not None and len(splits) == len(names) else splits
    source = _source(name, [names[i] for i in read], [where[i] for i in read], found, known, parts)
    return replace(source, bad=tuple(BadFile(*row) for row in bad.items()))


@dataclass(frozen=True, slots=True, eq=False)
class ItemAt:
    """Location of an item of a torch Dataset, whose image is encoded as an image file."""

    dataset: ItemDataset = field(repr=False)
    index: int

    def read(self) -> bytes:
        try:
            item = self.dataset[self.index]
            return _encode(item[0] if isinstance(item, tuple | list) else item)
        except Exception as error:  # the user's code, which may fail in any way: one bad file, not the end of the run
            raise OSError(_failure(self.index, error)) from error

    def stamp(self) -> None:
        return None


@dataclass(frozen=True, slots=True, eq=False)
class BytesAt:
    """Location of an image file's bytes in memory."""

    data: bytes = field(repr=False)

    def read(self) -> bytes:
        return self.data

    def stamp(self) -> None:
        return None


def _source(
    name: str,
    names: Sequence[str],
    where: Sequence[Location],
    labels: Labels | None,
    class_names: Sequence[str] | None,
    splits: Sequence[Split | None] | None,
) -> Source:
    for what, given in (("labels", labels), ("splits", splits)):
        if given is not None and len(given) != len(where):
            raise VitrailError(f"{len(given)} {what} for the {len(where)} images of {name}: give one for each")
    if unknown := {split for split in splits or () if split not in ("train", "val", "test", None)}:
        raise VitrailError(f"split {min(map(str, unknown))!r} of {name} is none of train, val, test")
    parts = splits or [None] * len(where)
    found = _Labels((), [()] * len(where)) if labels is None else _read_labels(labels, class_names, name)
    samples = (Sample(*row) for row in zip(names, found.rows, parts, where, strict=True))
    task = REGRESSION if found.kind == "numbers" else MULTI_LABEL if found.many else CLASSIFICATION
    return Source(name, found.class_names, tuple(samples), task, label_kind=found.kind)


@dataclass(frozen=True, slots=True)
class _Labels:
    class_names: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    kind: LabelKind = "classes"
    many: bool = False


def _read_labels(labels: Labels, class_names: Sequence[str] | None, name: str) -> _Labels:
    many, rows = _rows(labels)
    kinds = {type(value) for row in rows for value in row}
    if kinds <= {str}:
        known = tuple(class_names or sorted({value for row in rows for value in row}, key=natural))
        if unknown := sorted({value for row in rows for value in row} - set(known)):
            raise VitrailError(f"label {unknown[0]!r} of {name} is not among the class names {', '.join(known)}")
        index = {value: i for i, value in enumerate(known)}
        return _Labels(known, [tuple(sorted({index[value] for value in row})) for row in rows], many=many)
    if kinds == {int}:
        highest = max(value for row in rows for value in row)
        known = tuple(class_names or map(str, range(highest + 1)))
        if highest >= len(known) or min(value for row in rows for value in row) < 0:
            raise VitrailError(f"the labels of {name} count to {highest}, but there are {len(known)} class names")
        return _Labels(known, [tuple(sorted(set(row))) for row in rows], many=many)
    if kinds <= {float, int}:
        return _numbers([tuple(map(float, row)) for row in rows], class_names, name)
    raise VitrailError(
        f"labels of {name} are of types {', '.join(sorted(kind.__name__ for kind in kinds))}: give str or int for "
        "classes, float for numbers"
    )


def _numbers(rows: list[tuple[float, ...]], class_names: Sequence[str] | None, name: str) -> _Labels:
    widths = sorted({len(row) for row in rows})
    known = tuple(class_names or (map(str, range(widths[0])) if widths != [1] else ("value",)))
    if widths != [len(known)]:
        raise VitrailError(f"{name} has {' and '.join(map(str, widths))} numbers for an image, but {len(known)} names")
    if not all(np.isfinite(row).all() for row in rows):
        raise VitrailError(f"the numbers of {name} have NaN or infinity: leave those images out")
    return _Labels(known, list(rows), "numbers")


def _rows(labels: Labels) -> tuple[bool, list[tuple[Any, ...]]]:
    """Return whether an image may have several labels, and the labels of each image."""
    if isinstance(labels, np.ndarray | Tensor):
        array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else labels
        if array.ndim == 2 and array.dtype.kind in "biu" and array.max(initial=0) <= 1:
            return True, [tuple(np.flatnonzero(row).tolist()) for row in array]
        labels = array.tolist()
    plain = [label.tolist() if isinstance(label, Tensor | np.ndarray | np.generic) else label for label in labels]
    many = any(isinstance(label, list | tuple) for label in plain)
    return many, [tuple(label) if isinstance(label, list | tuple) else (label,) for label in plain]


def _with_length(dataset: ItemDataset | Dataset[Any]) -> ItemDataset:
    items: Any = dataset  # torch's Dataset leaves the length to its subclasses
    try:
        len(items)
    except TypeError as error:
        kind = type(dataset).__name__
        raise VitrailError(f"a {kind} has no length: give a Dataset with __len__ and __getitem__(index)") from error
    return items


def _classes_of(dataset: object) -> tuple[str, ...] | None:
    """Class names of a Dataset, or None; a name of several words in a tuple is joined by commas."""
    match dataset:
        case Subset():
            return _classes_of(dataset.dataset)
        case ConcatDataset():
            found = {names for part in dataset.datasets if (names := _classes_of(part))}
            if len(found) > 1:
                raise VitrailError(
                    f"the joined datasets have different classes, such as {' and '.join(map(_some, sorted(found)[:2]))}"
                    ": give class_names, and labels that index them, to source_from_dataset(...)"
                )
            return next(iter(found), None)
        case NamesClasses(classes=classes):
            return tuple(each if isinstance(each, str) else ", ".join(map(str, each)) for each in classes) or None
    return None


def _some(names: tuple[str, ...]) -> str:
    return f"({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"


def _labels_of_items(dataset: ItemDataset, names: Sequence[str]) -> tuple[list[Any], dict[str, str]]:
    """Labels of the items that can be read, and {name: reason} of the others."""
    labels, bad = [], {}
    for index, name in enumerate(names):
        try:
            item = dataset[index]
        except Exception as error:  # the user's code, as in `ItemAt.read`
            bad[name] = _failure(index, error)
            continue
        if not isinstance(item, tuple | list) or len(item) != 2:
            kind = type(item).__name__
            raise VitrailError(f"item {index} of the dataset is a {kind}, but (image, label) is needed")
        labels.append(item[1])
    return labels, bad


def _failure(index: int, error: Exception) -> str:
    return f"item {index} of the dataset: {error or type(error).__name__}"


def _location(image: ImageLike | str | os.PathLike[str], name: str) -> Location:
    if isinstance(image, str | os.PathLike):
        return FileAt(os.fspath(image))
    return BytesAt(_encode(image, name))


def _encode(image: ImageLike, name: str = "image") -> bytes:
    """Encode an image as the bytes of a lossless image file."""
    file = BytesIO()
    if isinstance(image, Image.Image) and image.mode in _PNG_MODES:
        # PNG keeps transparency, which a model of four channels needs; level 0 is as fast as copying.
        image.save(file, "PNG", compress_level=0, exif=image.getexif())
        return file.getvalue()
    if getattr(image, "ndim", 3) == 4:
        clip = clip_tensor(image, name=name).detach().cpu().numpy()
        np.save(file, clip if clip.shape[1] < clip.shape[3] else clip.transpose(0, 2, 3, 1))
        return file.getvalue()
    tensor = image_tensor(image, name=name).detach().cpu()
    channels, height, width = tensor.shape
    if channels <= height:
        np.save(file, tensor.permute(1, 2, 0).contiguous().numpy())
    elif channels < width:
        np.save(file, tensor.contiguous().numpy())
    else:
        raise BadImage(name, f"{channels} channels of {height}×{width} pixels: give images with more pixels than bands")
    return file.getvalue()
