"""Shapes as signed distances, and colours.

A shape is a function of points (x, y), y down, that returns their distance to its outline, negative inside. It is
about as large as the circle of radius 1, in which it lies. Where two parts meet, the distance is that to the nearer or
farther of them, which is exact at the outline.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

Field = Float32[ndarray, "H W"]
Shape = Callable[[Field, Field], Field]


def _circle(x: Field, y: Field) -> Field:
    return np.hypot(x, y) - np.float32(0.9)


def _box(x: Field, y: Field, width: float, height: float) -> Field:
    return np.maximum(np.abs(x) - np.float32(width), np.abs(y) - np.float32(height))


def _square(x: Field, y: Field) -> Field:
    return _box(x, y, 0.7, 0.7)


def _spikes(x: Field, y: Field, count: int, notch: float) -> Field:
    """`count` tips at radius 1, the first of them up, with notches at radius `notch` between them."""
    sector = 2 * np.pi / count
    angle = np.arctan2(x, -y)
    angle = np.abs(np.mod(angle + sector / 2, sector) - sector / 2)
    radius = np.hypot(x, y)
    along, across = notch * np.cos(sector / 2) - 1, notch * np.sin(sector / 2)
    length = np.hypot(along, across)
    one, two = np.float32(across / length), np.float32(-along / length)
    return one * (radius * np.cos(angle) - 1) + two * radius * np.sin(angle)


def _polygon(x: Field, y: Field, count: int) -> Field:
    return _spikes(x, y, count, float(np.cos(np.pi / count)))


def _triangle(x: Field, y: Field) -> Field:
    return _polygon(x, y, 3)


def _star(x: Field, y: Field) -> Field:
    return _spikes(x, y, 5, 0.42)


def _cross(x: Field, y: Field) -> Field:
    return np.minimum(_box(x, y, 0.92, 0.3), _box(x, y, 0.3, 0.92))


def _ring(x: Field, y: Field) -> Field:
    return np.abs(np.hypot(x, y) - np.float32(0.68)) - np.float32(0.22)


def _diamond(x: Field, y: Field) -> Field:
    slope = np.float32(0.58)
    return (np.abs(x) + slope * np.abs(y) - slope) / np.hypot(np.float32(1), slope)


def _cone(x: Field, y: Field, centre: tuple[float, float], radius: float, tip: float) -> Field:
    """A circle and the cone of its tangent from (0, tip), for x >= 0."""
    right, down = (np.float32(value) for value in centre)
    distance = float(np.hypot(centre[0], tip - centre[1]))
    turn = np.arctan2(tip - centre[1], -centre[0]) - np.arccos(radius / distance)
    normal_x, normal_y = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    beside = normal_x * (x - right) + normal_y * (y - down) - np.float32(radius)
    along = normal_y * (x - right) - normal_x * (y - down)  # negative towards the tip
    return np.minimum(np.hypot(x - right, y - down) - np.float32(radius), np.maximum(beside, along))


def _heart(x: Field, y: Field) -> Field:
    return _cone(np.abs(x), y, (0.43, -0.31), 0.465, 0.95)


def _drop(x: Field, y: Field) -> Field:
    return _cone(np.abs(x), -y, (0.0, -0.32), 0.62, 0.98)


def _arrow(x: Field, y: Field) -> Field:
    """An arrow that points to the right."""
    shaft = _box(x + np.float32(0.4), y, 0.55, 0.24)
    steep = np.float32(0.8)
    head = np.maximum((np.abs(y) + steep * (x - 1)) / np.hypot(np.float32(1), steep), -x)
    return np.minimum(shaft, head)


def _crescent(x: Field, y: Field) -> Field:
    return np.maximum(np.hypot(x, y) - np.float32(0.95), np.float32(0.78) - np.hypot(x - np.float32(0.48), y))


def _hexagon(x: Field, y: Field) -> Field:
    return _polygon(x, y, 6)


def _pentagon(x: Field, y: Field) -> Field:
    return _polygon(x, y, 5)


def _semicircle(x: Field, y: Field) -> Field:
    return np.maximum(np.hypot(x, y - np.float32(0.4)) - np.float32(0.91), y - np.float32(0.4))


def _pill(x: Field, y: Field) -> Field:
    return np.hypot(np.maximum(np.abs(x) - np.float32(0.56), 0), y) - np.float32(0.38)


def _clover(x: Field, y: Field) -> Field:
    top = np.hypot(x, y + np.float32(0.42))
    sides = np.hypot(np.abs(x) - np.float32(0.4), y - np.float32(0.26))
    return np.minimum(top, sides) - np.float32(0.52)


SHAPES: dict[str, Shape] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "diamond": _diamond,
    "heart": _heart,
    "arrow": _arrow,
    "crescent": _crescent,
    "hexagon": _hexagon,
    "drop": _drop,
    "pill": _pill,
    "clover": _clover,
    "semicircle": _semicircle,
    "pentagon": _pentagon,
}
"""Name -> shape; the first are the classes of scenes with fewer of them."""

COLOURS = {
    "red": (214, 40, 40),
    "orange": (245, 132, 20),
    "yellow": (252, 216, 46),
    "green": (44, 160, 68),
    "blue": (36, 88, 214),
    "purple": (130, 52, 170),
    "white": (250, 250, 250),
    "black": (26, 26, 30),
}
"""Name -> red, green and blue, 0 to 255; far from each other and from the grey of backgrounds."""
