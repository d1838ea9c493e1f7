"""Boxes from the numbers of an annotation: checked, clipped, as fractions of the image; and turned with it."""

import math
from collections.abc import Sequence

from PIL import Image

from .annotations import Box

_ROUNDING = 1.0
"""Pixels by which a box may stick out of its image: programs round, and count from 0 or 1."""
_FRACTION = 0.01
"""The same, as a fraction of a side, if the size of the image is not known."""


def box_in_pixels(label: int, edges: Sequence[float], size: tuple[int, int], *, crowd: bool = False) -> Box | str:
    """Box of an image of (height, width), or what is wrong with it, as a clause.

    Args:
        label: index of the class.
        edges: left, top, right, bottom in pixels from the image's corner: pixel 0 lies between 0 and 1. A box that
            sticks out by at most a pixel is clipped.
        size: height and width.
        crowd: see `Box`.
    """
    height, width = size
    unit = f"an image of {width}×{height} pixels"
    return _box(label, edges, (width, height), _ROUNDING, unit, crowd)


def box_in_fractions(label: int, edges: Sequence[float]) -> Box | str:
    """The same with edges as fractions of the sides; a box that sticks out by at most a hundredth is clipped."""
    return _box(label, edges, (1, 1), _FRACTION, "the image, whose sides are 1", False)


def hull(points: Sequence[float]) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of points x, y, x, y …"""
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])


def _box(label: int, edges: Sequence[float], sides: tuple[int, int], slack: float, unit: str, crowd: bool) -> Box | str:
    left, top, right, bottom = edges
    width, height = sides
    if 0 <= left < right <= width and 0 <= top < bottom <= height:  # nearly all boxes, of which there may be millions
        box = Box(label, left / width, top / height, right / width, bottom / height, crowd)
        return box if box.left < box.right and box.top < box.bottom else f"{_named(edges)} has no area"
    if not all(map(math.isfinite, edges)):
        return f"{_named(edges)} has numbers that are not finite"
    if right <= left or bottom <= top:
        return f"{_named(edges)} has no area"
    if min(right, width) <= max(left, 0) or min(bottom, height) <= max(top, 0):
        return f"{_named(edges)} is outside {unit}"
    limit = slack * 1.000001
    if min(left, top) < -limit or right > width + limit or bottom > height + limit:
        return f"{_named(edges)} sticks out of {unit}"
    left, right = max(left / width, 0.0), min(right / width, 1.0)
    top, bottom = max(top / height, 0.0), min(bottom / height, 1.0)
    if right <= left or bottom <= top:  # by rounding
        return f"{_named(edges)} has no area"
    return Box(label, left, top, right, bottom, crowd)


def _named(edges: Sequence[float]) -> str:
    left, top, right, bottom = (f"{edge:.6g}" for edge in edges)
    return f"the box from ({left}, {top}) to ({right}, {bottom})"


def turned_box(box: Box, turn: Image.Transpose) -> Box:
    """The box in an image that is turned by `turn`, as Pillow's `Image.transpose` does."""
    left, top, right, bottom = box.left, box.top, box.right, box.bottom
    swap, flip_x, flip_y = STEPS[turn]
    if swap:
        left, top, right, bottom = top, left, bottom, right
    if flip_x:
        left, right = 1 - right, 1 - left
    if flip_y:
        top, bottom = 1 - bottom, 1 - top
    return Box(box.label, left, top, right, bottom, box.crowd)


STEPS = {
    Image.Transpose.FLIP_LEFT_RIGHT: (False, True, False),
    Image.Transpose.ROTATE_180: (False, True, True),
    Image.Transpose.FLIP_TOP_BOTTOM: (False, False, True),
    Image.Transpose.TRANSPOSE: (True, False, False),
    Image.Transpose.ROTATE_270: (True, True, False),
    Image.Transpose.TRANSVERSE: (True, True, True),
    Image.Transpose.ROTATE_90: (True, False, True),
}
"""Each turn as steps: whether rows and columns are swapped, then left and right, then top and bottom."""
