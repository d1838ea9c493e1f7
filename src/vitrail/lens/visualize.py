"""Drawing of the attention of a layer on one image."""

import os

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from ..checkpoint.contract import Checkpoint
from ..errors import VitrailError
from .attribution.passes import settled
from .draw import visualize_attention_weights
from .images import ImageLike
from .inputs import model_inputs
from .naming import LayerName, Rows
from .observe import observe_attention
from .outputs import run


def visualize_attention(
    model: nn.Module | Checkpoint | str | os.PathLike[str],
    image: ImageLike,
    layer: LayerName | None = -1,
    *,
    rows: Rows = None,
    side: int = 192,
    device: str = "auto",
) -> UInt8[Tensor, "3 H W"]:
    """The attention of every head of a layer over an image: `visualize_attention(checkpoint, "cat.jpg", layer=-1)`.

    Args:
        model: a checkpoint, or what `load` takes; or a bare model, for which `image` is its normalised pixels.
        image: one `ImageLike`.
        layer: a number among the model's attentions, or the name of a module ("blocks.3"); None for all, a row each.
        rows: the query to draw, by token number; None for the tokens that the head reads: the class token, or,
            for a mean over the patches, the attention that each patch receives.
        side: height of a map, in pixels.
        device: device of a checkpoint.

    Raises:
        VitrailError: an unknown layer or token; no attention, or none over patches of one grid; not one image.
    """
    given = model_inputs(model, image, device)
    if len(given.pixels) != 1:
        raise VitrailError(f"{len(given.pixels)} images: give one")
    with (
        settled(given.model),
        observe_attention(given.model, layers=layer, rows=rows) as seen,
        torch.inference_mode(),
    ):
        run(given.model, given.pixels.to(given.device))
    return visualize_attention_weights(given.images[0], seen, side=side)
