"""Folders of images and depths: 16-bit PNG, TIFF, NPY or NPZ with a depth for each pixel."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from ..errors import VitrailError
from ..task_spec import TaskSpec
from .annotated import DEPTH, Annotated, make_source, task_note
from .decode import BadImage
from .folder_source import is_image
from .map_facts import MapFacts
from .map_files import read_depth
from .map_folders import find_pairs
from .map_names import DEPTH_ENDINGS, DEPTH_FOLDERS
from .samples import Source

TASKS = ("depth",)
OPENS_UNLABELLED = True

_LOOKED_AT = 16
"""Number of files from which the note on the range is made."""
_MILLIMETRES = 1000.0
"""Scale of 16-bit files unless it is given: NYU, ScanNet, ARKit and most sensors write millimetres; KITTI 256."""


@dataclass(frozen=True, slots=True)
class DepthFile:
    """A `MapLabel` of depths in a file.

    Attributes:
        path: the file.
        scale: what stored values are divided by; None: a number that follows from their type, see `_scale_of`.
    """

    path: str
    scale: float | None

    def read(self) -> Float32[Tensor, "H W"]:
        """Read the depths; values that are not finite, 0 or less are NaN.

        Raises:
            BadImage: the file cannot be read.
        """
        values, of_type = read_depth(self.path)
        scale = _scale_of(of_type) if self.scale is None else self.scale
        return torch.from_numpy(_known(values, scale).astype(np.float32))

    def facts(self) -> MapFacts:
        """Size, and the lowest and highest depth as stored.

        Raises:
            BadImage: the file cannot be read, or no pixel has a depth.
        """
        values = read_depth(self.path)[0]
        known = _known(values, 1.0)
        if np.isnan(known).all():
            raise BadImage(self.path, "no pixel has a depth: all are 0, negative or not finite")
        height, width = values.shape
        return MapFacts(height, width, 1, (float(np.nanmin(known)), float(np.nanmax(known))))


def matches(root: Path, task: TaskSpec | None) -> bool:
    """Whether a folder has images and depths of the same names in folders beside each other."""
    return find_pairs(root, DEPTH_FOLDERS, DEPTH_ENDINGS, _is_depth, is_asked=task is not None) is not None


def open_folder(root: Path, labelled: bool, task: TaskSpec | None) -> Source:
    """Open images and depths.

    The option `scale` of the task is what stored values are divided by. By default whole numbers of 16 bits are
    millimetres, those of 8 bits fractions of 255, and floats are as they are.

    Raises:
        VitrailError: no usable image, or a scale that is no positive number.
    """
    found = find_pairs(root, DEPTH_FOLDERS, DEPTH_ENDINGS, _is_depth, is_asked=task is not None)
    if found is None:
        raise VitrailError(f"no image of {root} has a depth: put depth/ with the names of the images beside images/")
    scale, note = (None, "") if not labelled else _scale(root, [depth for _, depth, _ in found.pairs if depth], task)
    images = []
    for image, depth, split in found.pairs:
        full = str(root / image)
        if depth is None and labelled:
            images.append(Annotated(image, full, split, problems=("no depth",)))
        else:
            labels = (DepthFile(str(root / depth), scale),) if depth is not None else ()
            images.append(Annotated(image, full, split, labels))
    bad = found.bad if labelled else ()
    notes = [task_note(task, DEPTH, note)]
    return make_source(str(root), images, class_names=(), task=DEPTH, kind="maps", bad=bad, notes=notes)


def _is_depth(name: str) -> bool:
    return is_image(name) or (name.lower().endswith(".npz") and not name.startswith("."))


def _known(values: np.ndarray, scale: float) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(values) & (values > 0), values / scale, np.nan)


def _scale_of(of_type: int) -> float:
    """The scale of files whose type has this largest value, 0 for floats."""
    return {0: 1.0, 255: 255.0}.get(of_type, _MILLIMETRES)


def _scale(root: Path, paths: list[str], task: TaskSpec | None) -> tuple[float | None, str]:
    """The scale that is given, or None; and a sentence with the range of the depths."""
    stated = dict(task.options).get("scale") if task is not None else None
    given = None if stated is None else _number(stated)
    lowest, highest, scales = float("inf"), 0.0, set()
    for path in paths[:: max(1, len(paths) // _LOOKED_AT)]:
        try:
            values, of_type = read_depth(str(root / path))
        except BadImage:
            continue  # the survey names it
        scale = _scale_of(of_type) if given is None else given
        known = _known(values, scale)
        if not np.isnan(known).all():
            lowest, highest = min(lowest, float(np.nanmin(known))), max(highest, float(np.nanmax(known)))
        scales.add(scale)
    divisors = " or ".join(f"{scale:g}" for scale in sorted(scales))
    text = f"depths in {os.path.dirname(paths[0]) or 'the folder of the images'}, stored values divided by {divisors}"
    text += " by their type" if len(scales) > 1 else ""
    if highest:
        text += f": {lowest:.3g} to {highest:.3g} in those looked at"
    return given, text + ("" if given is not None or scales <= {1.0} else "; --task depth:scale=N for another scale")


def _number(given: object) -> float:
    try:
        scale = float(str(given))
    except ValueError:
        scale = 0.0
    if not 0 < scale < float("inf"):
        raise VitrailError(f"the scale of depths is {given!r}: give the number that stored values are divided by")
    return scale
