"""Decodes video files with PyAV, an optional library."""

import os
import time
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .bands import RefusedError
from .decoding_limits import MAX_SECONDS, TooSlowError
from .opened_clip import OpenedClip

VIDEO_SUFFIXES = frozenset(
    f".{suffix}" for suffix in ("mp4", "m4v", "avi", "mov", "mkv", "webm", "mpg", "mpeg", "wmv", "flv", "ogv", "3gp")
)
"""Suffixes of files that count as videos, in lower case. Their content decides the format."""


def is_video(name: str) -> bool:
    """Whether a file of this name counts as a video."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


_PER_FRAME = 1.0
"""Seconds that decoding may take for each frame, besides `MAX_SECONDS`."""


def open_video(data: bytes, strict: bool) -> OpenedClip:
    """Open a video file: its frames are counted without decoding them.

    Args:
        data: the bytes of the file.
        strict: refuse a file whose last frames are missing; otherwise the last decoded one takes their place.

    Raises:
        RefusedError: PyAV is not installed, or it is no video.
    """
    try:
        import av
    except ImportError as error:
        raise RefusedError(
            'a video, or no file of images at all: pip install "vitrail[video]" to read videos, or unpack its frames '
            "into a folder"
        ) from error
    count, size = _counted(av, data)

    def frames(indices: Sequence[int]) -> Iterator[Tensor]:
        return _decoded(av, data, count, indices, strict)

    return OpenedClip(count, size, frames)


def _counted(av: Any, data: bytes) -> tuple[int, tuple[int, int]]:
    """Number of frames, which are the packets of the stream, and (height, width)."""
    try:
        with av.open(BytesIO(data)) as container:
            if not container.streams.video:
                raise RefusedError("a file without a video, such as sound alone")
            stream = container.streams.video[0]
            count = sum(1 for packet in container.demux(stream) if packet.size)
            return count, (stream.codec_context.height, stream.codec_context.width)
    except av.error.FFmpegError as error:
        raise RefusedError("not a video, or damaged in its first bytes") from error


def _decoded(av: Any, data: bytes, count: int, indices: Sequence[int], strict: bool) -> Iterator[Tensor]:
    """Yield the frames with these ascending indices."""
    limit = MAX_SECONDS + _PER_FRAME * count
    end = time.monotonic() + limit
    wanted = iter(indices)
    index = next(wanted, None)
    last: Tensor | None = None
    for number, frame in enumerate(_frames(av, data, strict)):
        if time.monotonic() > end:
            raise TooSlowError(f"decoding takes longer than {limit:g} seconds")
        if index is None:
            return
        if number == index:
            last = _tensor(frame)
            while number == index:
                yield last
                index = next(wanted, None)
    while not strict and last is not None and index is not None:
        yield last
        index = next(wanted, None)


def _frames(av: Any, data: bytes, strict: bool) -> Iterator[Any]:
    """Decode a video's frames; damage ends them, unless `strict`, which raises."""
    with av.open(BytesIO(data)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"  # files are decoded in threads already
        if strict:
            stream.codec_context.options = {"err_detect": "explode"}  # decoders paint over damage otherwise
        try:
            for frame in container.decode(stream):
                if strict and frame.is_corrupt:
                    raise RefusedError("damaged (a frame is corrupt)")
                yield frame
        except av.error.FFmpegError as error:
            if strict:
                raise RefusedError(f"damaged ({error.strerror})") from error


def _tensor(frame: Any) -> Tensor:
    """A frame as (3, H, W) uint8, upright as the rotation stored in the file has it."""
    array = frame.to_ndarray(format="rgb24")
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return torch.from_numpy(np.ascontiguousarray(np.rot90(array, turns).transpose(2, 0, 1)))
