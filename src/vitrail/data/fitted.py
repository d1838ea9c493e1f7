"""Reads samples at the size of a model."""

from dataclasses import dataclass, replace

from jaxtyping import Shaped
from torch import Tensor

from .preprocess import Preprocess
from .read_sample import read_sized
from .samples import Sample


@dataclass(frozen=True, slots=True)
class Fitted:
    """An image or a clip at the size of a model, and (height, width) of the whole image in pixels."""

    image: Shaped[Tensor, "*frames C H W"]
    size: tuple[int, int]


def read_fitted(sample: Sample, preprocess: Preprocess) -> Fitted:
    """Read the image of a sample, resized and cropped: as a clip, if `preprocess` has frames.

    A large JPEG is decoded at a fraction of its size, see `Preprocess.enough`.

    Raises:
        BadImage: it cannot be read or decoded.
    """
    sample = replace(sample, clip=preprocess.frames is not None)
    image, size = read_sized(
        sample, preprocess.channels, least=preprocess.enough, frames=preprocess.frames, then=preprocess.fit
    )
    return Fitted(image, size)
