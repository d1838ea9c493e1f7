"""Reconstructions of hidden parts of images, drawn for the report."""

from collections.abc import Sequence

from jaxtyping import Float, UInt8
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


def _image(pixels: Float[Tensor, "C H W"], preprocess: Preprocess) -> UInt8[Tensor, "3 H W"]:
    return displayable(preprocess.viewable(pixels))
