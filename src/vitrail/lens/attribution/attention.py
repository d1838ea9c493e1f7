"""Attention weights of the last layer as a map: the baseline of the other methods."""

from jaxtyping import Float
from torch import Tensor

from ...nn import VisionModel
from ..explanation import last_layer_map
from .layers import encoder_layers
from .method import Method
from .passes import Map, Targets


def attention_map(model: VisionModel, pixels: Float[Tensor, "B C H W"], targets: Targets) -> Map:
    """Attention weights of the last layer, mean over its heads; the same for any target.

    The weights of the tokens that the head reads, or of the head's pool, see `looked_at`.
    """
    encoder_layers(model)  # its error names other methods for a model without attention
    return last_layer_map(model, pixels)


METHOD = Method("Attention, last layer", attention_map, signed=False, by_class=False, quick=True)
