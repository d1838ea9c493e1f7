"""Clips of a moving square in every kind of file, for tests."""

from pathlib import Path

import numpy as np
from PIL import Image

SIDE, SQUARE = 32, 6


def moving_square(frames: int = 8, step: int = 3, colour: tuple[int, int, int] = (255, 0, 0)) -> np.ndarray:
    """(T, H, W, 3) uint8: a square that moves to the right by `step` pixels a frame, on grey."""
    clip = np.full((frames, SIDE, SIDE, 3), 60, np.uint8)
    for number in range(frames):
        left = 1 + step * number
        clip[number, 10 : 10 + SQUARE, left : left + SQUARE] = colour
    return clip


def left_edges(clip: np.ndarray) -> list[int]:
    """Left edge of the red square in each frame of a clip (T, 3, H, W)."""
    return [int(np.nonzero((frame[0] > 150) & (frame[1] < 110))[1].min()) for frame in clip.astype(int)]


def write_frames(folder: Path, clip: np.ndarray, first: int = 0, every: int = 1) -> Path:
    """A folder of numbered PNGs."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(clip):
        Image.fromarray(frame).save(folder / f"frame_{first + every * number:04d}.png")
    return folder


def write_animation(path: Path, clip: np.ndarray) -> Path:
    """An animated GIF or WebP, without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = (Image.fromarray(frame) for frame in clip)
    options = {"lossless": True} if path.suffix == ".webp" else {}
    first.save(path, save_all=True, append_images=rest, duration=50, **options)
    return path


def write_array(path: Path, clip: np.ndarray) -> Path:
    """A `.npy` file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, clip)
    return path


def write_video(path: Path, clip: np.ndarray, codec: str = "libx264rgb", rotation: int | None = None) -> Path:
    """A video through PyAV; libx264rgb at quality 0 is without loss."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = clip.shape[2], clip.shape[1]
        if codec == "libx264rgb":
            stream.pix_fmt, stream.options = "rgb24", {"qp": "0"}
        else:
            stream.pix_fmt = "yuv420p"
        for frame in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return path
