"""Sources made in Python: from images or paths with labels, or from a torch Dataset."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from PIL import Image
from torch import Tensor

from ..errors import VitrailError
from ..task_spec import CLASSIFICATION, MULTI_LABEL, REGRESSION
from .decode import BadImage
from .in_memory import ImageLike, image_tensor
from .samples import FileAt, LabelKind, Location, Sample, Source, Split, natural

Labels = Sequence[Any] | np.ndarray | Tensor
"""Labels of images, one entry each; see `source_from_images`."""

_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")


class ItemDataset(Protocol):
    """A torch Dataset with random access, whose items are (image, label)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


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
    dataset: ItemDataset,
    *,
    labels: Labels | None = None,
    class_names: Sequence[str] | None = None,
    splits: Sequence[Split | None] | None = None,
    name: str = "dataset",
) -> Source:
    """Make a source of a torch Dataset with items (image, label), which are read when they are needed.

    Args:
        dataset: has a length; its images are Pillow images, arrays or tensors that are not normalised.
        labels: labels of all items, such as `dataset.targets`; None reads each item once to find its label.
        class_names, splits, name: see `source_from_images`.

    Raises:
        VitrailError: items are not pairs; see `source_from_images`.
    """
    count = len(dataset)
    found = [_pair(dataset, i)[1] for i in range(count)] if labels is None else labels
    where = [ItemAt(dataset, i) for i in range(count)]
    return _source(name, [f"{name}/{i}" for i in range(count)], where, found, class_names, splits)


@dataclass(frozen=True, slots=True, eq=False)
class ItemAt:
    """Location of an item of a torch Dataset, whose image is encoded as an image file."""

    dataset: ItemDataset = field(repr=False)
    index: int

    def read(self) -> bytes:
        try:
            return _encode(_pair(self.dataset, self.index)[0])
        except Exception as error:  # the user's code, which may fail in any way: one bad file, not the end of the run
            raise OSError(f"item {self.index} of the dataset: {error}") from error

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


def _pair(dataset: ItemDataset, index: int) -> tuple[Any, Any]:
    item = dataset[index]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise VitrailError(f"item {index} of the dataset is a {type(item).__name__}, but (image, label) is needed")
    return item[0], item[1]


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
    tensor = image_tensor(image, name=name).detach().cpu()
    channels, height, width = tensor.shape
    if channels <= height:
        np.save(file, tensor.permute(1, 2, 0).contiguous().numpy())
    elif channels < width:
        np.save(file, tensor.contiguous().numpy())
    else:
        raise BadImage(name, f"{channels} channels of {height}×{width} pixels: give images with more pixels than bands")
    return file.getvalue()
