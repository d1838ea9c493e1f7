"""The sources `torchvision:NAME`: torchvision's data sets."""

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import VitrailError, nearest
from ..task_spec import TaskSpec
from .samples import FileAt, Location, RowAt, Sample, Source, Split
from .user_folders import data_folder

SplitArguments = dict[Split, dict[str, Any]]
"""Split -> arguments of the torchvision class; {} for a set without splits."""

_TRAIN_FLAG: SplitArguments = {"train": {"train": True}, "test": {"train": False}}
_TWO: SplitArguments = {"train": {"split": "train"}, "test": {"split": "test"}}
_THREE: SplitArguments = {"train": {"split": "train"}, "val": {"split": "val"}, "test": {"split": "test"}}


@dataclass(frozen=True, slots=True)
class _Named:
    """A torchvision data set: its class, arguments of its splits, and attributes of labels and images."""

    kind: str
    splits: SplitArguments
    labels: str
    images: str


TORCHVISION = {
    "cifar10": _Named("CIFAR10", _TRAIN_FLAG, "targets", "data"),
    "cifar100": _Named("CIFAR100", _TRAIN_FLAG, "targets", "data"),
    "mnist": _Named("MNIST", _TRAIN_FLAG, "targets", "data"),
    "fashionmnist": _Named("FashionMNIST", _TRAIN_FLAG, "targets", "data"),
    "kmnist": _Named("KMNIST", _TRAIN_FLAG, "targets", "data"),
    "stl10": _Named("STL10", _TWO, "labels", "data"),
    "svhn": _Named("SVHN", _TWO, "labels", "data"),
    "food101": _Named("Food101", _TWO, "_labels", "_image_files"),
    "flowers102": _Named("Flowers102", _THREE, "_labels", "_image_files"),
    "dtd": _Named("DTD", _THREE, "_labels", "_image_files"),
    "fgvcaircraft": _Named("FGVCAircraft", _THREE, "_labels", "_image_files"),
    "oxfordiiitpet": _Named(
        "OxfordIIITPet", {"train": {"split": "trainval"}, "test": {"split": "test"}}, "_labels", "_images"
    ),
    "eurosat": _Named("EuroSAT", {}, "targets", "imgs"),
}
"""Name in `open_source` -> torchvision's classification set."""


def torchvision_set(rest: str, labelled: bool, task: TaskSpec | None) -> Source:
    """Open one of torchvision's sets.

    It is read from `data_folder()` ($VITRAIL_DATA or ./data), in torchvision's layout, and downloaded to it if it is
    missing.

    Args:
        rest: its name, in any case.
        labelled: whether labels are needed; they are always given.
        task: task of the labels, which are classes whatever it is.

    Raises:
        VitrailError: unknown name, or the set can neither be found nor downloaded.
    """
    name = rest.lower()
    if name not in TORCHVISION:
        raise VitrailError(f"no torchvision set {name!r} is known here; {nearest(name, TORCHVISION)}")
    row = TORCHVISION[name]
    class_names: tuple[str, ...] = ()
    samples: list[Sample] = []
    for split, arguments in row.splits.items() or [(None, {})]:
        dataset = _open(name, row, arguments)
        labels = [int(label) for label in getattr(dataset, row.labels)]
        class_names = _class_names(dataset, labels, class_names)
        images = _locations(getattr(dataset, row.images))
        prefix = f"{name}/{split}" if split else name
        samples += [
            Sample(f"{prefix}/{i}", (label,), split, at)
            for i, (label, at) in enumerate(zip(labels, images, strict=True))
        ]
    return Source(name, class_names, tuple(samples))


def _class_names(dataset: object, labels: list[int], known: tuple[str, ...]) -> tuple[str, ...]:
    """torchvision's class names; numbers for sets without names."""
    names = tuple(str(name) for name in getattr(dataset, "classes", ()))
    return names or tuple(str(i) for i in range(max([*labels, len(known) - 1]) + 1))


def _locations(images: Any) -> list[Location]:
    """Locations of rows of one array, of files, or of (file, label) pairs."""
    if hasattr(images, "shape"):
        array = np.asarray(images)
        return [RowAt(array, i) for i in range(len(array))]
    return [FileAt(os.fspath(image[0] if isinstance(image, tuple) else image)) for image in images]


def _open(name: str, row: _Named, arguments: dict[str, Any]) -> object:
    from torchvision import datasets

    root = data_folder()
    build: Callable[..., object] = getattr(datasets, row.kind)
    with contextlib.redirect_stdout(sys.stderr):  # torchvision prints to standard output, which is for results
        try:
            return build(root, download=False, **arguments)
        except (RuntimeError, OSError):
            pass  # not downloaded yet
        try:
            Path(root).mkdir(parents=True, exist_ok=True)
            return build(root, download=True, **arguments)
        except Exception as error:  # sets raise different errors
            raise VitrailError(
                f"{name} is not in {root}/ and could not be downloaded ({error}): copy it there as "
                "torchvision stores it, set VITRAIL_DATA to that folder, or give a folder of images"
            ) from error
