"""Decodes clips: `.npy` arrays, animated images, videos, and the frames of a folder.

| file                                          | clip                                                      |
|-----------------------------------------------|-----------------------------------------------------------|
| `.npy` (T, H, W, C) or (T, C, H, W)           | values by their type, see `vitrail.data.decode`           |
| animated GIF, WebP, PNG, TIFF of grey pages   | each frame as `vitrail.data.decode` has the first one     |
| .mp4 .avi .mov .mkv .webm .mpg and the like   | (T, 3, H, W) uint8, turned upright; needs the extra video |
| folder of images                              | one frame for each, in natural order, all of one size     |

A clip is a tensor (T, C, H, W), uint8 or float32. In a four-dimensional `.npy` the channel axis is the shorter of the
second and the last, the last if equal. A file of one frame is no clip.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Shaped
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from .bands import RefusedError, fit_bands, load_npy, scale_bands
from .camera import is_heif
from .decode import BadImage, decode, from_pil, unchanged
from .decoding_faults import MAX_PIXELS, fault, too_large
from .decoding_limits import DECODING, TimedFile
from .formats import readable_formats
from .frame_folder import is_joined, split_frames
from .memory import shrink
from .opened_clip import OpenedClip
from .orientation import turned_size
from .quiet import quiet
from .spaced import spaced

T = TypeVar("T")

MOST_FRAMES = 100_000
"""Clips with more frames, an hour of video, are refused."""

_BYTES_PER_PIXEL = 8
"""Memory for a pixel of a frame that is kept, with all copies up to the resize."""


def decode_clip(
    data: bytes,
    channels: int | None = None,
    *,
    name: str = "clip",
    strict: bool = True,
    least: int | None = None,
    frames: int | None = None,
    then: Callable[[Tensor], Any] = unchanged,
) -> Any:
    """Decode the bytes of a clip to (T, C, H, W), uint8 or float32; see the module's table.

    Args:
        data: the bytes of the file, or of the frames of a folder, see `FramesAt`.
        channels: number of channels to convert to; None: its own.
        name: name of the clip in messages.
        strict: also refuse damage that decoders pass over.
        least: shorter side in pixels that is enough: larger frames are resized to it.
        frames: at most so many frames, evenly spaced; None: all.
        then: applied to the clip while its memory is reserved, such as `Preprocess.fit`; its result is returned.

    Raises:
        BadImage: any fault of the clip, with `name` and the reason.
    """
    return decode_clip_sized(data, channels, name=name, strict=strict, least=least, frames=frames, then=then)[0]


def decode_clip_sized(
    data: bytes,
    channels: int | None = None,
    *,
    name: str = "clip",
    strict: bool = True,
    least: int | None = None,
    frames: int | None = None,
    then: Callable[[Tensor], T],
) -> tuple[T, tuple[int, int]]:
    """The result of `decode_clip`, and (height, width) of the frames in pixels."""
    try:
        with quiet():
            opened = open_clip(data, strict)
            kept = list(range(opened.length)) if frames is None else spaced(opened.length, min(frames, opened.length))
            with DECODING.reserved(_BYTES_PER_PIXEL * len(kept) * opened.size[0] * opened.size[1]):
                found = (fit_bands(frame, channels) for frame in checked_frames(opened, kept))
                clip = torch.stack([frame if least is None else shrink(frame, least) for frame in found])
                return then(clip), opened.size
    except BadImage as error:  # of one frame
        raise BadImage(name, f"{error.name}: {error.reason}") from error
    except Exception as error:
        raise BadImage(name, fault(error, data)) from error


def inspect_clip(data: bytes, *, name: str, strict: bool) -> tuple[int, Shaped[Tensor, "C H W"]]:
    """Decode every frame of a clip once; return the number of frames and the first of them.

    Raises:
        BadImage: any fault of the clip, also fewer than two frames.
    """
    try:
        with quiet():
            opened = open_clip(data, strict)
            first: Tensor | None = None
            for frame in checked_frames(opened, range(opened.length)):
                first = frame if first is None else first
    except BadImage as error:
        raise BadImage(name, f"{error.name}: {error.reason}") from error
    except Exception as error:
        raise BadImage(name, fault(error, data)) from error
    assert first is not None, "open_clip refuses clips without frames"
    return opened.length, first


def checked_frames(opened: OpenedClip, indices: Sequence[int]) -> Iterator[Shaped[Tensor, "C H W"]]:
    """Yield frames of a clip, which all need to have the size and channels of the first."""
    first: tuple[int, ...] | None = None
    found = 0
    for index, frame in zip(indices, opened.frames(indices), strict=False):
        found += 1
        shape = tuple(frame.shape)
        first = first or shape
        if shape != first:
            words = "{1}×{2} with {0} channels".format
            raise RefusedError(f"frame {index + 1} is {words(*shape)}, and the first is {words(*first)}")
        yield frame
    if found < len(indices):
        raise RefusedError(f"truncated: frame {indices[found] + 1} of {opened.length} cannot be decoded")


def open_clip(data: bytes, strict: bool = True) -> OpenedClip:
    """Read the header of a clip.

    Raises:
        RefusedError: it is no clip, or has fewer than two frames.
    """
    opened = _opened(data, strict)
    if opened.length < 2:
        raise RefusedError("a single image, but a clip of several frames is needed")
    if opened.length > MOST_FRAMES:
        raise RefusedError(f"too long: {opened.length:,} frames, the limit is {MOST_FRAMES:,}; cut it into clips")
    if (pixels := opened.size[0] * opened.size[1]) > MAX_PIXELS:
        raise RefusedError(too_large(pixels))
    return opened


def _opened(data: bytes, strict: bool) -> OpenedClip:
    if not data:
        raise RefusedError("empty file")
    if is_joined(data):
        return _joined_frames(data, strict)
    if data.startswith(b"\x93NUMPY"):
        return _array(data, strict)
    if not is_heif(data):
        try:
            return _animation(Image.open(TimedFile(data), formats=readable_formats()))
        except UnidentifiedImageError:
            pass
    from .video_file import open_video

    return open_video(data, strict)


def _joined_frames(data: bytes, strict: bool) -> OpenedClip:
    """The frames of a folder, each decoded as an image of its own."""
    files = split_frames(data)

    def frames(indices: Sequence[int]) -> Iterator[Tensor]:
        for index in indices:
            name, content = files[index]
            yield decode(content, name=name, strict=strict)

    if not files:
        raise RefusedError("a folder without images")
    name, content = files[0]
    first = decode(content, name=name, strict=strict)
    return OpenedClip(len(files), (first.shape[1], first.shape[2]), frames)


def _array(data: bytes, strict: bool) -> OpenedClip:
    array = load_npy(data, MAX_PIXELS, strict)
    if array.ndim != 4:
        hint = ": a single image" if array.ndim in (2, 3) else ""
        raise RefusedError(f"an array of shape {array.shape}{hint}, but a clip (T, H, W, C) or (T, C, H, W) is needed")
    if array.shape[1] >= array.shape[3]:
        array = np.moveaxis(array, 3, 1)
    if array.size == 0:
        raise RefusedError(f"no pixels: its shape is {array.shape}")
    return OpenedClip(
        len(array), (array.shape[2], array.shape[3]), lambda indices: (scale_bands(array[index]) for index in indices)
    )


def _animation(image: Image.Image) -> OpenedClip:
    """An animated image of Pillow, whose frames are decoded one after the other."""

    def frames(indices: Sequence[int]) -> Iterator[Tensor]:
        for index in indices:
            image.seek(index)
            yield from_pil(image.copy())

    return OpenedClip(getattr(image, "n_frames", 1), turned_size(image), frames)
