"""Reads the image or the clip of a sample."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, overload

from jaxtyping import Shaped
from torch import Tensor

from .clips import decode_clip_sized
from .decode import BadImage, decode_sized, unchanged
from .frame_folder import FramesAt
from .samples import Sample
from .spaced import spaced

T = TypeVar("T")


@overload
def read_image(
    sample: Sample, channels: int | None = None, *, least: int | None = None, frames: int | None = None
) -> Shaped[Tensor, "*frames C H W"]: ...


@overload
def read_image(
    sample: Sample,
    channels: int | None = None,
    *,
    least: int | None = None,
    frames: int | None = None,
    then: Callable[[Tensor], T],
) -> T: ...


def read_image(
    sample: Sample,
    channels: int | None = None,
    *,
    least: int | None = None,
    frames: int | None = None,
    then: Callable[[Tensor], Any] = unchanged,
) -> Any:
    """Read the image of a sample (C, H, W), or its clip (T, C, H, W), converted to `channels` (None: its own).

    The rules are those of `vitrail.data.decode` and `vitrail.data.clips`.

    Args:
        sample: the sample.
        channels: number of channels.
        least: shorter side that is enough, see `decode`.
        frames: largest number of frames of a clip, evenly spaced; None: all.
        then: applied to the image while its memory is reserved, see `decode`.

    Raises:
        BadImage: the image cannot be read or decoded.
    """
    return read_sized(sample, channels, least=least, frames=frames, then=then)[0]


def read_sized(
    sample: Sample,
    channels: int | None = None,
    *,
    least: int | None = None,
    frames: int | None = None,
    then: Callable[[Tensor], T],
) -> tuple[T, tuple[int, int]]:
    """The result of `read_image`, and (height, width) of the whole image, or of a clip's frames, in pixels."""
    if sample.clip and frames is not None and isinstance(at := sample.location, FramesAt):  # others are not opened
        few = at.only(spaced(len(at.names), min(frames, len(at.names))))
        sample = replace(sample, location=few if len(few.names) > 1 else at)
    data, name, strict = read_bytes(sample), sample.name, sample.strict
    if sample.clip:
        return decode_clip_sized(data, channels, name=name, strict=strict, least=least, frames=frames, then=then)
    return decode_sized(data, channels, name=name, strict=strict, least=least, then=then)


def read_bytes(sample: Sample) -> bytes:
    """Read the bytes of a sample's image file.

    Raises:
        BadImage: they cannot be read, whatever error the location raises.
    """
    try:
        return sample.location.read()
    except OSError as error:
        raise BadImage(sample.name, error.strerror or str(error)) from error
    except Exception as error:  # a location of another package: one bad image, not the end of the table
        raise BadImage(sample.name, f"cannot be read ({type(error).__name__}: {error})") from error
