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
    figures = ""
    for row in range(min(MOST_DRAWN, len(columns[0][1]))):
        drawn = (panes(_image(pixels[row], preprocess), None, name) for name, pixels in columns)
        figures += "".join(f"<figure>{pane}</figure>" for pane in drawn)
    note = f"{len(columns)} images in a row: {', '.join(name for name, _ in columns)}. They are validation images."
    return section(title, f'<div class="images">{figures}</div>', note)


def _image(pixels: Float[Tensor, "C H W"], preprocess: Preprocess) -> UInt8[Tensor, "3 H W"]:
    return displayable(preprocess.viewable(pixels))
