"""Images with rectangles at known pixels, for tests of annotations."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vitrail.data.annotations import Box

Rectangle = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are the first pixels outside."""


def draw(path: Path, width: int, height: int, *rectangles: Rectangle) -> np.ndarray:
    """Save a black image with rectangles of grey 1, 2, 3 … and return it (H, W), the later ones in front."""
    image = np.zeros((height, width), dtype=np.uint8)
    for value, (left, top, right, bottom) in enumerate(rectangles, 1):
        image[top:bottom, left:right] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return image


def pixels(box: Box, width: int, height: int) -> tuple[float, float, float, float]:
    """Edges of a box in pixels."""
    edges = (box.left * width, box.top * height, box.right * width, box.bottom * height)
    return tuple(round(edge, 6) for edge in edges)  # type: ignore[return-value]


def covered(box: Box, width: int, height: int) -> torch.Tensor:
    """(H, W) bool: the pixels whose centres are in a box."""
    x = (torch.arange(width) + 0.5) / width
    y = (torch.arange(height) + 0.5) / height
    return ((y > box.top) & (y < box.bottom))[:, None] & ((x > box.left) & (x < box.right))
