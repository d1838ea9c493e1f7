"""Augmentation of an image together with targets that have a place in it.

An image is cut to a window, mirrored and resized; targets follow by arithmetic on fractions of the image's sides. They
do not depend on the number of pixels, so that boxes, and maps of any resolution, stay right for images that were made
smaller before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.utils import _pytree as pytree
from torchvision.transforms import v2

from ..errors import VitrailError
from .annotations import IGNORED
from .augment import image_transform
from .augment_options import Augment
from .preprocess import Preprocess
from .resize import resize

LEAST_VISIBLE = 0.3
"""Least fraction of a box inside the window; boxes with less are left out, as their object is hardly visible."""


@dataclass(frozen=True, slots=True)
class BoxTarget:
    """Objects of an image.

    Attributes:
        boxes: (n, 4) left, top, right, bottom, as fractions of the image's sides.
        labels: (n,) index of the class.
        crowd: (n,) whether it is a group that is no target, see `Box`.
    """

    boxes: Float[Tensor, "n 4"]
    labels: Int[Tensor, " n"]
    crowd: Bool[Tensor, " n"]

    @classmethod
    def batch(cls, items: "Sequence[BoxTarget]") -> "BoxTargets":
        """Objects of a batch, padded to the largest number of an image."""
        most = max(len(item.labels) for item in items)
        pad = [most - len(item.labels) for item in items]
        return BoxTargets(
            torch.stack([F.pad(item.boxes, (0, 0, 0, rest)) for item, rest in zip(items, pad, strict=True)]),
            torch.stack([F.pad(item.labels, (0, rest), value=-1) for item, rest in zip(items, pad, strict=True)]),
            torch.stack([F.pad(item.crowd, (0, rest)) for item, rest in zip(items, pad, strict=True)]),
        )


@dataclass(frozen=True, slots=True)
class BoxTargets:
    """Objects of a batch of images, padded to the same number M.

    Attributes:
        boxes: (B, M, 4) left, top, right, bottom, as fractions of the image's sides.
        labels: (B, M) index of the class; -1 for padding.
        crowd: (B, M), see `BoxTarget`.
    """

    boxes: Float[Tensor, "B M 4"]
    labels: Int[Tensor, "B M"]
    crowd: Bool[Tensor, "B M"]


pytree.register_dataclass(BoxTargets, serialized_type_name="vitrail.BoxTargets")


@dataclass(frozen=True, slots=True)
class MapTarget:
    """A value for each pixel, at any resolution: classes (integers, `IGNORED`) or numbers (floats, NaN if unknown)."""

    values: Shaped[Tensor, "H W"]


@dataclass(frozen=True, slots=True)
class Window:
    """The part of an image that is shown, as fractions of its sides, and whether it is mirrored from left to right.

    Parts outside of the image (below 0 or above 1) are filled.
    """

    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0
    mirrored: bool = False


def placed(target: Any, window: Window, size: tuple[int, int]) -> Any:
    """The target of what a window shows.

    Args:
        target: a `BoxTarget`, a `MapTarget`, or a dict of targets; others, such as classes, are returned unchanged.
        window: the part of the image.
        size: (height, width) of the maps that are returned, in pixels.
    """
    if isinstance(target, dict):
        return {name: placed(one, window, size) for name, one in target.items()}
    if isinstance(target, BoxTarget):
        return _placed_boxes(target, window)
    return _placed_map(target, window, size) if isinstance(target, MapTarget) else target


def _placed_boxes(target: BoxTarget, window: Window) -> BoxTarget:
    """Boxes as fractions of the window, cut at its edges; those of which too little is left are left out."""
    start = torch.tensor([window.left, window.top] * 2)
    span = torch.tensor([window.right - window.left, window.bottom - window.top] * 2)
    moved = (target.boxes - start) / span
    if window.mirrored:
        moved = torch.stack([1 - moved[:, 2], moved[:, 1], 1 - moved[:, 0], moved[:, 3]], dim=1)
    cut = moved.clamp(0, 1)
    kept = _areas(cut) >= LEAST_VISIBLE * _areas(moved)
    kept &= (cut[:, 2:] > cut[:, :2]).all(dim=1)
    return BoxTarget(cut[kept], target.labels[kept], target.crowd[kept])


def _areas(boxes: Float[Tensor, "n 4"]) -> Float[Tensor, " n"]:
    return (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)


def _placed_map(target: MapTarget, window: Window, size: tuple[int, int]) -> MapTarget:
    """The value at the centre of each pixel of the window."""
    values = target.values
    rows = _indices(window.top, window.bottom, size[0], values.shape[0])
    columns = _indices(window.left, window.right, size[1], values.shape[1])
    if window.mirrored:
        columns = columns.flip(0)
    found = values.index_select(0, rows.clamp(min=0)).index_select(1, columns.clamp(min=0))
    outside = (rows < 0)[:, None] | (columns < 0)
    return MapTarget(found.masked_fill(outside, torch.nan if values.is_floating_point() else IGNORED))


def _indices(start: float, end: float, count: int, there: int) -> Int[Tensor, " count"]:
    """Index of the row, of `there`, at the centre of each of `count` rows of a window; -1 outside."""
    places = start + (end - start) * (torch.arange(count, dtype=torch.float64) + 0.5) / count
    found = (places * there).floor().long()
    return found.where((places >= 0) & (places < 1), -1)


class JointView:
    """Views of a sample with placed targets: (image, target) -> (image (C, *image_size), target).

    Args:
        augment: the augmentation; None for images as in evaluation.
        preprocess: size and mean of the images.

    Raises:
        VitrailError: a step that moves pixels in a way that targets cannot follow.
    """

    def __init__(self, augment: Augment | None, preprocess: Preprocess) -> None:
        self.augment = augment
        self.preprocess = preprocess
        if augment is not None:
            _require_placed(augment)
            self.colours = image_transform(replace(augment, crop="none", flip=0.0), preprocess)

    def __call__(self, image: Shaped[Tensor, "C H W"], target: Any) -> tuple[Shaped[Tensor, "C h w"], Any]:
        window = self.window(image)
        shown = shown_in(window, image, self.preprocess)
        if self.augment is not None:
            shown = self.colours(shown)
        return shown, placed(target, window, self.preprocess.image_size)

    def window(self, image: Shaped[Tensor, "C H W"]) -> Window:
        """A random window of an image, by torch's CPU generator."""
        augment = self.augment
        if augment is None:
            return Window()
        window = _crop(augment, image)
        return replace(window, mirrored=bool(augment.flip) and bool(torch.rand(()) < augment.flip))


def _require_placed(augment: Augment) -> None:
    if augment.crop == "simple":
        raise VitrailError(
            "augment.crop is simple, which mirrors the border, where targets cannot follow: use resized, shift or none"
        )
    if augment.flip and augment.flip_mode == "alternate":
        raise VitrailError("augment.flip_mode is alternate, which is for images with one label as a whole: use random")
    if augment.randaugment:
        raise VitrailError(
            "augment.randaugment turns and moves images, where targets cannot follow: set it to 0, and use "
            "augment.color_jitter for colours"
        )


def _crop(augment: Augment, image: Shaped[Tensor, "C H W"]) -> Window:
    height, width = image.shape[1:]
    if augment.crop == "resized":
        scale, ratio = list(augment.crop_scale), list(augment.crop_ratio)
        top, left, rows, columns = v2.RandomResizedCrop.get_params(image, scale, ratio)
        return Window(left / width, top / height, (left + columns) / width, (top + rows) / height)
    if augment.crop == "shift":
        down, along = ((2 * torch.rand(2, dtype=torch.float64) - 1) * augment.shift).tolist()
        # Whole pixels, so that nothing is resampled.
        down, along = round(down * height) / height, round(along * width) / width
        return Window(along, down, 1 + along, 1 + down)
    return Window()


def shown_in(window: Window, image: Shaped[Tensor, "C H W"], preprocess: Preprocess) -> Shaped[Tensor, "C h w"]:
    """What a window shows of an image, resized to the model's size; parts outside have the mean colour."""
    height, width = image.shape[1:]
    top, bottom = round(window.top * height), round(window.bottom * height)
    left, right = round(window.left * width), round(window.right * width)
    inside = image[:, max(0, top) : min(height, bottom), max(0, left) : min(width, right)]
    if (bottom - top, right - left) != tuple(inside.shape[1:]):
        canvas = _filled(image, (bottom - top, right - left), preprocess.mean)
        down, along = max(0, -top), max(0, -left)
        canvas[:, down : down + inside.shape[1], along : along + inside.shape[2]] = inside
        inside = canvas
    if tuple(inside.shape[1:]) != preprocess.image_size:
        inside = resize(inside, preprocess.image_size, preprocess.interpolation)
    return inside.flip(-1) if window.mirrored else inside


def _filled(image: Tensor, size: tuple[int, int], mean: tuple[float, ...]) -> Tensor:
    """An image of the mean colour, on the scale of another one."""
    scale = 255 if image.dtype == torch.uint8 else 1
    colour = torch.tensor([scale * value for value in mean]).view(-1, 1, 1)
    colour = colour.round() if image.dtype == torch.uint8 else colour
    return colour.to(image.dtype).expand(-1, *size).clone()
