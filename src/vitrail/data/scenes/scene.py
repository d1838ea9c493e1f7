"""A scene: objects before a background, with the truth about each, as a pure function of (options, split, index).

The camera sees one metre across at a distance of one metre. Objects are about half a metre large, flat and upright,
each at its own distance, so that near ones are large and cover far ones; the first is much nearer than the others. The
background slopes from 6 m at the top of the image to 4 m at the bottom.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Int16, UInt8
from numpy import ndarray

from ..annotations import Box
from ..samples import Split
from ..seeds import derive
from .background import clouds, noise
from .cutouts import Cutout, find_cutouts
from .options import NUMBERS, SceneOptions
from .shapes import COLOURS, SHAPES
from .sprites import Sprite, cutout_sprite, paint, shape_sprite

BACKGROUND_DEPTH = (6.0, 4.0)
"""Distance of the background at the top and the bottom of the image, in metres."""
_METRES = (0.45, 0.55)
_NEAREST, _FARTHEST = (1.0, 1.4), 3.2
_GAP = 1.35
"""Least distance of the second object, as a multiple of that of the first: more than the sizes of objects differ by,
so that the first is always the largest."""
_LEAST_SEEN = 0.3
_TRIES = 12


@dataclass(frozen=True, slots=True)
class SceneSet:
    """Scenes of the same options. Equal ones have equal scenes; picklable.

    Attributes:
        options: the options.
        cutouts: the cut-outs that are the classes; empty: the classes are shapes.
    """

    options: SceneOptions
    cutouts: tuple[Cutout, ...] = ()

    @property
    def drawing(self) -> str:
        """What the images depend on: equal for sets that differ only in numbers of scenes and labels."""
        options = replace(self.options, train=1, val=0, test=0, numbers=NUMBERS)
        return f"{options}|{self.cutouts or None}"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes of objects."""
        if self.cutouts:
            return tuple(cutout.name for cutout in self.cutouts)
        return tuple(SHAPES)[: self.options.classes or 12]


@dataclass(frozen=True, slots=True)
class Thing:
    """An object before it is placed: class, colour (None for a cut-out), distance in metres, size in pixels, angle."""

    label: int
    colour: str | None
    depth: float
    size: float
    angle: float


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """An object in its place.

    Attributes:
        thing: the object.
        sprite: how it looks.
        top, left: upper left corner of the sprite in the image, in pixels.
        box: edges of its visible part.
        seen: fraction of its pixels that are visible.
    """

    thing: Thing
    sprite: Sprite
    top: int
    left: int
    box: Box
    seen: float


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A scene.

    Attributes:
        objects: the objects, the nearest first; at least 30 % of each is visible.
        instances: (H, W), which object each pixel belongs to: 1 for the first, 0 for the background.
    """

    objects: tuple[Placed, ...]
    instances: Int16[ndarray, "H W"]

    def classes(self) -> Int16[ndarray, "H W"]:
        """Map of classes: 0 for the background, 1 for the first class."""
        return np.array([0, *(1 + each.thing.label for each in self.objects)], dtype=np.int16)[self.instances]

    def depth(self) -> Float32[ndarray, "H W"]:
        """Map of distances, in metres."""
        height = len(self.instances)
        top, bottom = BACKGROUND_DEPTH
        slope = top + (bottom - top) * (np.arange(height, dtype=np.float32) + 0.5) / height
        values = np.array([0, *(each.thing.depth for each in self.objects)], dtype=np.float32)[self.instances]
        return np.where(self.instances == 0, slope.astype(np.float32)[:, None], values)


def scene_set(options: SceneOptions) -> SceneSet:
    """Find the cut-outs of options, if they name a folder.

    Raises:
        VitrailError: the folder has too few cut-outs.
    """
    if options.cutouts is None:
        return SceneSet(options)
    return SceneSet(options, find_cutouts(options.cutouts, options.classes, options.seed))


def generator(scenes: SceneSet, purpose: str, split: Split, index: int) -> np.random.Generator:
    """The random numbers of one purpose of a scene."""
    return np.random.default_rng(derive(scenes.options.seed, purpose, split, index))


@lru_cache(maxsize=8)
def kinds(scenes: SceneSet, split: Split) -> tuple[tuple[int, str | None], ...]:
    """Pairs (class, colour) that scenes of a split draw from."""
    if scenes.cutouts:
        return tuple((label, None) for label in range(len(scenes.cutouts)))
    colours = list(COLOURS)
    hidden = int(np.ceil(scenes.options.unseen * len(colours)))
    found: list[tuple[int, str | None]] = []
    for label in range(len(scenes.class_names)):
        # Each shape misses as many colours, and each colour about as many shapes: 3 has no factor of 8.
        start = (3 * label + scenes.options.seed) % len(colours)
        turned = colours[start:] + colours[:start]
        found += [(label, colour) for colour in (turned[:hidden] if hidden and split == "test" else turned[hidden:])]
    return tuple(found)


def things(scenes: SceneSet, split: Split, index: int) -> tuple[Thing, ...]:
    """The objects of a scene, the nearest first, before they are placed: much faster than the scene."""
    rng = generator(scenes, "things", split, index)
    least, most = scenes.options.objects or (3, 6)
    count = int(rng.integers(least, most + 1))
    known = kinds(scenes, split)
    # Each kind once as long as there are enough.
    chosen = [*rng.permutation(len(known)), *rng.integers(len(known), size=count)][:count]
    first = rng.uniform(*_NEAREST)
    depths = np.array([first, *np.sort(rng.uniform(_GAP * first, _FARTHEST, size=count - 1))])
    sizes = scenes.options.size * rng.uniform(*_METRES, size=count) / depths
    turn = scenes.options.turn
    angles = rng.uniform(-turn, turn, size=count)
    return tuple(
        Thing(*known[int(kind)], float(depth), float(size), float(angle))
        for kind, depth, size, angle in zip(chosen, depths, sizes, angles, strict=True)
    )


@lru_cache(maxsize=32)
def scene(scenes: SceneSet, split: Split, index: int) -> Scene:
    """Place the objects of a scene, the nearest first, each where enough of it is visible.

    One that finds no such place is left out.

    Raises:
        OSError: a cut-out cannot be read.
    """
    rng = generator(scenes, "places", split, index)
    side = scenes.options.size
    instances = np.zeros((side, side), dtype=np.int16)
    objects: list[Placed] = []
    for thing in things(scenes, split, index):
        sprite = _sprite(scenes, thing, rng)
        covered = sprite.alpha() >= 0.5
        height, width = covered.shape
        total = covered.sum()
        for top, left in rng.integers(0, (side - height + 1, side - width + 1), size=(_TRIES, 2)):
            window = instances[top : top + height, left : left + width]
            visible = covered & (window == 0)
            if (seen := visible.sum()) >= _LEAST_SEEN * total and seen > 0:
                window[visible] = len(objects) + 1
                box = _box(visible, thing.label, int(top), int(left), side)
                objects.append(Placed(thing, sprite, int(top), int(left), box, float(seen / total)))
                break
    instances.setflags(write=False)
    return Scene(tuple(objects), instances)


def picture(scenes: SceneSet, split: Split, index: int) -> UInt8[ndarray, "H W 3"]:
    """Draw the image of a scene.

    Raises:
        OSError: a cut-out cannot be read.
    """
    rng = generator(scenes, "picture", split, index)
    canvas = clouds(rng, scenes.options.size)
    for each in reversed(scene(scenes, split, index).objects):
        height, width = each.sprite.alpha().shape
        paint(each.sprite, canvas[each.top : each.top + height, each.left : each.left + width])
    return noise(rng, canvas)


def _sprite(scenes: SceneSet, thing: Thing, rng: np.random.Generator) -> Sprite:
    if thing.colour is None:
        return cutout_sprite(scenes.cutouts[thing.label], thing.size, thing.angle)
    down, right = rng.uniform(-0.5, 0.5, size=2)
    return shape_sprite(scenes.class_names[thing.label], thing.colour, thing.size, thing.angle, (down, right))


def _box(visible: ndarray, label: int, top: int, left: int, side: int) -> Box:
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    right, bottom = left + int(columns[-1]) + 1, top + int(rows[-1]) + 1
    return Box(label, (left + int(columns[0])) / side, (top + int(rows[0])) / side, right / side, bottom / side)
