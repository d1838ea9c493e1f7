"""Attention weights of the last layer as a map: the baseline of the other methods."""

from ...nn import VisionModel
from ..attention_maps import last_layer_attention
from .layers import encoder_layers
from .method import Method
from .passes import Map, Pixels, Targets


def attention_map(model: VisionModel, pixels: Pixels, targets: Targets) -> Map:
    """Attention weights of the last layer, mean over its heads; the same for any target.

    The weights of the tokens that the head reads, or of the head's pool, see `looked_at`.
    """
    encoder_layers(model)  # its error names other methods for a model without attention
    return last_layer_attention(model, pixels)[0]


METHOD = Method("Attention, last layer", attention_map, signed=False, by_class=False, quick=True)
