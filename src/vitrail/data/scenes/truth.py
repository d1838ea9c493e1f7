"""What is true of a scene: its classes, numbers and captions."""

from ..annotations import Box
from ..samples import Split
from .scene import Placed, Scene, SceneSet, generator, scene, things

_APART = 0.1
"""Least distance of centres, as a fraction of the side, that a caption calls left, right, above or below."""


def image_class(scenes: SceneSet, split: Split, index: int) -> int:
    """Class of the nearest object, which is also the largest."""
    return things(scenes, split, index)[0].label


def image_classes(scenes: SceneSet, split: Split, index: int) -> tuple[int, ...]:
    """All classes of a scene, in ascending order."""
    return tuple(sorted({each.thing.label for each in scene(scenes, split, index).objects}))


def boxes(scenes: SceneSet, split: Split, index: int) -> tuple[Box, ...]:
    """The visible part of each object, the nearest first."""
    return tuple(each.box for each in scene(scenes, split, index).objects)


def numbers(scenes: SceneSet, split: Split, index: int) -> tuple[float, ...]:
    """The chosen `NUMBERS` of a scene."""
    objects = scene(scenes, split, index).objects
    box = objects[0].box
    x, y = _centre(objects[0])
    known = {"x": x, "y": y, "size": max(box.right - box.left, box.bottom - box.top), "count": float(len(objects))}
    return tuple(known[name] for name in scenes.options.numbers)


def captions(scenes: SceneSet, split: Split, index: int) -> tuple[str, ...]:
    """Captions of a scene: "a red square left of a blue circle".

    Each object but the first is in one, with another one of the scene; a single object has its name. What is farther
    apart than a tenth of the side is left of, right of, above or below, whichever is farther; what is nearer is in
    front of or behind. Places are centres of the visible parts.
    """
    rng = generator(scenes, "captions", split, index)
    found: Scene = scene(scenes, split, index)
    names = [name_of(scenes, each) for each in found.objects]
    if len(names) == 1:
        return (names[0],)
    made = []
    for one in range(1, len(names)):
        other = int(rng.integers(one))
        first, second = (one, other) if rng.integers(2) else (other, one)
        made.append(f"{names[first]} {relation(found.objects[first], found.objects[second])} {names[second]}")
    return tuple(made)


def name_of(scenes: SceneSet, placed: Placed) -> str:
    """Colour and class of an object, with its article: "an orange star"."""
    words = [placed.thing.colour, scenes.class_names[placed.thing.label]]
    name = " ".join(word for word in words if word)
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def relation(first: Placed, second: Placed) -> str:
    """Place of one object relative to another one, see `captions`."""
    right, down = (one - other for one, other in zip(_centre(first), _centre(second), strict=True))
    if max(abs(right), abs(down)) < _APART:
        return "in front of" if first.thing.depth < second.thing.depth else "behind"
    if abs(right) >= abs(down):
        return "right of" if right > 0 else "left of"
    return "below" if down > 0 else "above"


def _centre(placed: Placed) -> tuple[float, float]:
    box = placed.box
    return (box.left + box.right) / 2, (box.top + box.bottom) / 2
