"""A clip whose header has been read."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from jaxtyping import Shaped
from torch import Tensor

Frames = Callable[[Sequence[int]], Iterator[Shaped[Tensor, "C H W"]]]
"""Ascending indices of frames -> these frames, with their own number of channels."""


class OpenedClip(NamedTuple):
    """A clip whose header has been read.

    Attributes:
        length: number of frames.
        size: (height, width) of the frames in pixels.
        frames: decodes frames.
    """

    length: int
    size: tuple[int, int]
    frames: Frames
