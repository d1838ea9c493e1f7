"""Sprites: an object at its size and rotation, as colours and opacity in a small window."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from PIL import Image

from .cutouts import Cutout, read_cutout
from .shapes import COLOURS, SHAPES, Field

_LIGHT = 0.16
"""Change of brightness from the centre of a shape to its upper left and lower right."""
_RIM = 0.09
"""Width of the rim of a shape, as a part of its radius; its contrast separates shapes of one colour."""


class Sprite(Protocol):
    """An object in a window of a few pixels more than its size."""

    def alpha(self) -> Float32[ndarray, "h w"]:
        """Opacity, 0 to 1; the object is where it is at least ½."""

    def light(self) -> Float32[ndarray, "h w 3"]:
        """Red, green and blue, 0 to 255, each times opacity."""


@dataclass(frozen=True, slots=True, eq=False)
class ShapeSprite:
    """A shape.

    Attributes:
        distance: (h, w), signed distance to the outline, in pixels.
        radius: in pixels.
        colour: name of its colour.
    """

    distance: Field
    radius: float
    colour: str

    def alpha(self) -> Float32[ndarray, "h w"]:
        return np.clip(np.float32(0.5) - self.distance, 0, 1)

    def light(self) -> Float32[ndarray, "h w 3"]:
        red, green, blue = COLOURS[self.colour]
        height, width = self.distance.shape
        down = np.arange(height, dtype=np.float32)[:, None] / height - np.float32(0.5)
        right = np.arange(width, dtype=np.float32) / width - np.float32(0.5)
        bright = 1 - np.float32(_LIGHT) * (down + right)
        dark = red + green + blue < 120  # black: its rim is lighter, as nothing is darker
        inside = np.clip(-self.distance - np.float32(max(1.0, _RIM * self.radius)) + 1, 0, 1)
        shade = bright * (inside + (1 - inside) * np.float32(2.6 if dark else 0.62))
        colours = np.minimum(shade[..., None] * np.array([red, green, blue], dtype=np.float32), 255)
        return self.alpha()[..., None] * colours


@dataclass(frozen=True, slots=True, eq=False)
class CutoutSprite:
    """A cut-out: (h, w, 4) red, green, blue, each times opacity, and opacity, 0 to 255."""

    pixels: Float32[ndarray, "h w 4"]

    def alpha(self) -> Float32[ndarray, "h w"]:
        return self.pixels[..., 3] / np.float32(255)

    def light(self) -> Float32[ndarray, "h w 3"]:
        return self.pixels[..., :3]


def paint(sprite: Sprite, window: Float32[ndarray, "h w 3"]) -> None:
    """Draw an object over a part of an image of its size."""
    window *= 1 - sprite.alpha()[..., None]
    window += sprite.light()


def shape_sprite(
    shape: str, colour: str, size: float, angle: float, offset: tuple[float, float] = (0.0, 0.0)
) -> ShapeSprite:
    """Draw a shape.

    Args:
        shape: name in `SHAPES`.
        colour: name in `COLOURS`.
        size: diameter of the circle around it, in pixels.
        angle: rotation, clockwise, in degrees.
        offset: (down, right) of its centre from that of the window, in pixels.
    """
    half = int(np.ceil(size / 2)) + 1
    places = np.arange(-half, half + 1, dtype=np.float32)
    down, right = (places - np.float32(offset[0]))[:, None], places - np.float32(offset[1])
    turn, scale = np.deg2rad(angle), np.float32(2 / size)
    cosine, sine = np.float32(np.cos(turn)) * scale, np.float32(np.sin(turn)) * scale
    x, y = cosine * right + sine * down, cosine * down - sine * right
    return ShapeSprite(SHAPES[shape](x, y) / scale, size / 2, colour)


def cutout_sprite(cutout: Cutout, size: float, angle: float) -> CutoutSprite:
    """Draw a cut-out whose longer side is `size` pixels, turned clockwise by `angle` degrees.

    Raises:
        OSError: the file cannot be read.
    """
    levels = read_cutout(cutout)
    image = next((level for level in reversed(levels) if max(level.size) - 2 >= size), levels[0])
    scale = (max(image.size) - 2) / size
    turn = np.deg2rad(angle)
    cosine, sine = scale * np.cos(turn), scale * np.sin(turn)
    wide, high = image.size
    width, height = (
        int(np.ceil((abs(cosine) * one + abs(sine) * other) / scale**2)) for one, other in ((wide, high), (high, wide))
    )
    right, down = (wide - cosine * width - sine * height) / 2, (high + sine * width - cosine * height) / 2
    places = (cosine, sine, right, -sine, cosine, down)
    turned = image.transform((width, height), Image.Transform.AFFINE, places, Image.Resampling.BILINEAR)
    return CutoutSprite(np.asarray(turned, dtype=np.float32))
