"""Clips of an object that moves, whose class is how it moves.

The object starts anywhere, and what leaves the image on one side enters it on the other. So in every single frame it is
equally likely to be anywhere, whatever the class: one frame alone says nothing about it, nor does the object's look.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from ..samples import Split
from .background import clouds, noise
from .scene import SceneSet, generator, kinds
from .sprites import Sprite, cutout_sprite, paint, shape_sprite

DIRECTIONS = {
    "right": (0.0, 1.0),
    "left": (0.0, -1.0),
    "up": (-1.0, 0.0),
    "down": (1.0, 0.0),
    "up-right": (-(0.5**0.5), 0.5**0.5),
    "up-left": (-(0.5**0.5), -(0.5**0.5)),
    "down-right": (0.5**0.5, 0.5**0.5),
    "down-left": (0.5**0.5, -(0.5**0.5)),
}
"""Direction -> (down, right), of length 1."""

Path = Callable[[float], tuple[float, float]]
"""Time from 0 to 1 -> (forward, aside), as fractions of the way."""


def _straight(time: float) -> tuple[float, float]:
    return time, 0.0


def _zigzag(time: float) -> tuple[float, float]:
    """To one side and back, twice."""
    return time, 0.3 * (1 - abs(4 * time % 2 - 1))


def _there_and_back(time: float) -> tuple[float, float]:
    return 0.6 * (1 - abs(2 * time - 1)), 0.0


PATHS: dict[str, Path] = {"straight": _straight, "zigzag": _zigzag, "there and back": _there_and_back}

_WAY = (0.45, 0.6)
"""Length of the way of a clip, as fractions of the side of the image."""
_SIZE = (0.2, 0.4)


def motions(scenes: SceneSet) -> tuple[tuple[str, str], ...]:
    """(path, direction) of each class of clips."""
    if scenes.options.motions == "straight":
        return tuple(("straight", direction) for direction in DIRECTIONS)
    return tuple((path, direction) for path in PATHS for direction in list(DIRECTIONS)[:4])


def motion_names(scenes: SceneSet) -> tuple[str, ...]:
    """Names of the classes of clips: "zigzag left"."""
    return tuple(" ".join(motion) for motion in motions(scenes))


def motion_class(scenes: SceneSet, split: Split, index: int) -> int:
    """Class of a clip. Each class comes once in every run of as many clips."""
    count = len(motions(scenes))
    order = generator(scenes, "motions", split, index // count).permutation(count)
    return int(order[index % count])


def clip(scenes: SceneSet, split: Split, index: int, motion: int | None = None) -> UInt8[ndarray, "T H W 3"]:
    """Draw the frames of a clip.

    Args:
        scenes: the scenes.
        split: split of the clip.
        index: its number in the split.
        motion: class to draw it with; None: its own. All else is the same, and so is the first frame.

    Raises:
        OSError: a cut-out cannot be read.
    """
    rng = generator(scenes, "clip", split, index)
    frames, side = scenes.options.frames, scenes.options.size
    path, direction = motions(scenes)[motion_class(scenes, split, index) if motion is None else motion]
    look = _look(scenes, split, rng)
    start, way, aside = rng.uniform(0, side, size=2), side * rng.uniform(*_WAY), rng.choice((-1, 1))
    back = clouds(rng, side)
    down, right = DIRECTIONS[direction]
    canvas = np.repeat(back[None], frames, axis=0)
    for number in range(frames):
        forward, beside = PATHS[path](number / (frames - 1))
        beside *= aside
        place = start + way * np.array([down * forward + right * beside, right * forward - down * beside])
        _lay(canvas[number], look, place)
    return noise(rng, canvas)


Look = Callable[[tuple[float, float]], Sprite]
"""(down, right) by which the object is beside the centre of a pixel -> the object."""


def _look(scenes: SceneSet, split: Split, rng: np.random.Generator) -> Look:
    found = kinds(scenes, split)
    label, colour = found[int(rng.integers(len(found)))]
    size = scenes.options.size * rng.uniform(*_SIZE)
    angle = rng.uniform(-scenes.options.turn, scenes.options.turn)
    if colour is None:
        sprite = cutout_sprite(scenes.cutouts[label], size, angle)
        return lambda offset: sprite
    name = scenes.class_names[label]
    return lambda offset: shape_sprite(name, colour, size, angle, offset)


def _lay(canvas: Float32[ndarray, "H W 3"], look: Look, place: ndarray) -> None:
    """Draw an object with its centre at a place (down, right), on all sides of the image that it reaches."""
    whole = np.floor(place)
    sprite = look((float(place[0] - whole[0] - 0.5), float(place[1] - whole[1] - 0.5)))
    rows, columns = (
        (int(corner) - length // 2 + np.arange(length)) % side
        for corner, length, side in zip(whole, sprite.alpha().shape, canvas.shape[:2], strict=True)
    )
    window = canvas[np.ix_(rows, columns)]
    paint(sprite, window)
    canvas[np.ix_(rows, columns)] = window
