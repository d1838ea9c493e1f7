"""The part of a clip that is shown in training."""

from jaxtyping import Shaped
from torch import Tensor

from .randaugment import uniform
from .spaced import spaced

KEPT = 4
"""Training keeps this many times the model's frames of a long clip, evenly spaced, among which windows are drawn."""

_LEAST_SPAN = 0.5
"""Smallest part of the time of a clip that is shown: much less may not show what it is labelled for."""


class TimeWindow:
    """Evenly spaced frames of a random part of a clip: random start, and random distance of the frames.

    A clip of no more frames than are shown is shown as a whole. Random numbers come from torch's CPU generator, which
    the loader seeds.

    Args:
        frames: number of frames.
    """

    def __init__(self, frames: int) -> None:
        self.frames = frames

    def __call__(self, clip: Shaped[Tensor, "T C H W"]) -> Shaped[Tensor, "T2 C H W"]:
        count = clip.shape[0]
        if count <= self.frames:
            return clip[spaced(count, self.frames)]
        span = uniform(max(_LEAST_SPAN, self.frames / count), 1.0)
        start = uniform(0.0, 1.0 - span)
        return clip[spaced(count, self.frames, start, start + span)]
