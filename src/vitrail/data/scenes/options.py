"""Options of scenes, also as the text after `scenes:`."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ...errors import VitrailError, nearest
from ..samples import Split
from .shapes import SHAPES

NUMBERS = ("x", "y", "size", "count")
"""Numbers of a scene for regression: centre of the nearest object (fractions of the width and height, from the upper
left), its larger side (fraction of the side of the image), and the number of objects."""


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """What is in a set of scenes.

    Attributes:
        size: side of the square images, in pixels, 32 to 1,024.
        train, val, test: number of scenes in each split.
        objects: (least, most) objects in a scene; None: 2 for captions, 3 to 6 otherwise.
        classes: number of classes; None: 12, or all cut-outs if they are fewer.
        seed: seed of everything that is drawn at random.
        cutouts: folder of RGBA images that are the objects, each a class; None: shapes.
        turn: greatest rotation of an object, in degrees, to either side.
        numbers: names of `NUMBERS` that are the labels of regression.
        unseen: fraction of the pairs of colour and shape that are in test scenes only, which have no others.
        frames: number of frames of a clip, 4 to 64.
        motions: "paths": 3 paths in 4 directions, or "straight": 8 directions.

    Raises:
        VitrailError: a value that is not allowed.
    """

    size: int = 128
    train: int = 2000
    val: int = 250
    test: int = 500
    objects: tuple[int, int] | None = None
    classes: int | None = None
    seed: int = 0
    cutouts: str | None = None
    turn: float = 30.0
    numbers: tuple[str, ...] = NUMBERS
    unseen: float = 0.0
    frames: int = 8
    motions: str = "paths"

    def __post_init__(self) -> None:
        _within("size", self.size, 32, 1024)
        for split in ("train", "val", "test"):
            _within(split, self.count(split), 0, 10_000_000)
        if not self.train + self.val + self.test:
            raise VitrailError("scenes: train, val and test are all 0: give one of them a number of scenes")
        least, most = self.objects or (1, 1)
        if not 1 <= least <= most <= 12:
            raise VitrailError(f"scenes: objects={least}-{most} is not allowed: use 1 to 12, such as 3-6 or 4")
        if self.classes is not None:
            _within("classes", self.classes, 2, len(SHAPES) if self.cutouts is None else 250)
        _within("seed", self.seed, 0, 2**63 - 1)
        _within("turn", self.turn, 0, 180)
        _within("unseen", self.unseen, 0, 0.5)
        _within("frames", self.frames, 4, 64)
        self._check_names()

    def _check_names(self) -> None:
        for name in self.numbers:
            if name not in NUMBERS:
                raise VitrailError(f"scenes: numbers={name} is not known; {nearest(name, NUMBERS)}")
        if not self.numbers or len(set(self.numbers)) < len(self.numbers):
            raise VitrailError("scenes: numbers has a name twice, or none: join different ones of " + "+".join(NUMBERS))
        if self.motions not in ("paths", "straight"):
            raise VitrailError(f"scenes: motions={self.motions} is not known: use paths or straight")
        if self.unseen and self.cutouts is not None:
            raise VitrailError("scenes: unseen= is for pairs of colour and shape, and cut-outs have no named colours")

    def count(self, split: Split) -> int:
        """Number of scenes of a split."""
        return {"train": self.train, "val": self.val, "test": self.test}[split]

    def for_captions(self) -> "SceneOptions":
        """The options for captions: of two objects, unless they state a number."""
        return replace(self, objects=self.objects or (2, 2))

    @classmethod
    def parse(cls, text: str) -> "SceneOptions":
        """Parse "size=128,train=2000,objects=3-6"; an empty text has the defaults.

        Raises:
            VitrailError: an unknown option, one that is given twice, or a value that is not allowed.
        """
        values: dict[str, Any] = {}
        for part in filter(None, text.split(",")):
            name, equals, value = part.partition("=")
            if name not in _READ:
                if values and not equals:
                    raise VitrailError(f"scenes: {part!r} is no option: values cannot have commas")
                raise VitrailError(f"scenes: {name!r} is no option; {nearest(name, _READ)}")
            if name in values:
                raise VitrailError(f"scenes: {name} is given twice: give it once")
            try:
                values[name] = _READ[name](value)
            except ValueError as error:
                raise VitrailError(f"scenes: {part} cannot be read: write {name}={_EXAMPLES[name]}") from error
        return cls(**values)

    def __str__(self) -> str:
        """The text that `parse` reads, without defaults."""
        return ",".join(
            f"{field.name}={_WRITE.get(field.name, str)(value)}"
            for field in fields(self)
            if (value := getattr(self, field.name)) != field.default
        )


def _within(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise VitrailError(f"scenes: {name}={value:g} is not allowed: use {least:g} to {most:g}")


def _range(text: str) -> tuple[int, int]:
    least, _, most = text.partition("-")
    return int(least), int(most or least)


def _folder(text: str) -> str:
    if not text:
        raise ValueError
    return str(Path(text).expanduser())


_READ: dict[str, Callable[[str], Any]] = {
    "size": int,
    "train": int,
    "val": int,
    "test": int,
    "objects": _range,
    "classes": int,
    "seed": int,
    "cutouts": _folder,
    "turn": float,
    "numbers": lambda text: tuple(text.split("+")),
    "unseen": float,
    "frames": int,
    "motions": str,
}
"""Option -> function that reads its text."""

_WRITE: dict[str, Callable[[Any], str]] = {
    "objects": lambda value: "-".join(map(str, value)),
    "numbers": "+".join,
}
"""Option -> function that writes its text, where `str` does not."""

_EXAMPLES = {
    "size": "128",
    "train": "2000",
    "val": "250",
    "test": "500",
    "objects": "3-6",
    "classes": "12",
    "seed": "0",
    "cutouts": "DIR",
    "turn": "30",
    "numbers": "x+y",
    "unseen": "0.2",
    "frames": "8",
    "motions": "straight",
}
