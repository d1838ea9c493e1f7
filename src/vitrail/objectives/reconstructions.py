"""Reconstructions of hidden parts of images, drawn for the report."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ..data.preprocess import Preprocess
from ..pages.html import panes, section
from ..pages.image import displayable

MOST_DRAWN = 6
"""Number of images that a report shows."""


def reconstruction_section(
    columns: Sequence[tuple[str, Float[Tensor, "B C H W"]]], preprocess: Preprocess, title: str = "Reconstructions"
) -> str:
    """HTML section with images in rows, from normalised pixels.

    Args:
        columns: name and pixels of each column, such as the image, its visible part and its reconstruction.
        preprocess: whose normalisation is undone.
        title: title of the section.
    """
    rows = ""
    for row in range(min(MOST_DRAWN, len(columns[0][1]))):
        drawn = (panes(_image(pixels[row], preprocess), None, name) for name, pixels in columns)
        rows += f'<div class="images">{"".join(f"<figure>{pane}</figure>" for pane in drawn)}</div>'
    note = f"From left to right: {', '.join(name for name, _ in columns)}. Each row is a validation image."
    return section(title, rows, note)


def hidden_part_section(
    pixels: Float[Tensor, "B C H W"],
    hidden: Bool[Tensor, "B H W"],
    found: Float[Tensor, "B C H W"],
    preprocess: Preprocess,
) -> str:
    """HTML section with images, their visible part, and the images with the hidden part as it was predicted.

    Args:
        pixels: normalised pixels.
        hidden: true for the pixels that the model does not see.
        found: predicted pixels.
        preprocess: whose normalisation is undone.
    """
    inside = hidden.unsqueeze(1)
    visible, whole = pixels.masked_fill(inside, 0.0), torch.where(inside, found.to(pixels.dtype), pixels)
    return reconstruction_section([("image", pixels), ("visible part", visible), ("reconstruction", whole)], preprocess)


def _image(pixels: Float[Tensor, "C H W"], preprocess: Preprocess) -> UInt8[Tensor, "3 H W"]:
    return displayable(preprocess.viewable(pixels))
