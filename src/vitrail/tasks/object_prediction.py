"""Objects that were found in an image."""

from dataclasses import dataclass

from .outcomes import Prediction


@dataclass(frozen=True, slots=True)
class FoundObject:
    """An object in an image.

    Attributes:
        name: name of its class.
        score: its probability.
        left, top, right, bottom: edges of its box, as fractions of the image's sides, from 0 to 1.
    """

    name: str
    score: float
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class QueriedObject:
    """What a learned query of a decoder found: its most probable object, and whether that is part of a prediction."""

    found: FoundObject
    shown: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectPrediction(Prediction):
    """Objects that were found, the most probable first; None if the image could not be read."""

    objects: tuple[FoundObject, ...] | None = None
