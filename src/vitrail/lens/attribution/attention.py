"""Attention and its rollout as maps: only the rows that the head reads go back through the layers."""

import torch
from jaxtyping import Float
from torch import Tensor

from ...nn import VisionModel
from ..explanation import last_layer_map
from ..rollout import HeadFusion, fuse_heads
from .layers import Layers, encoder_layers, looked_through, reading
from .passes import Classes, Map, patch_map


def attention_map(model: VisionModel, pixels: Float[Tensor, "B C H W"], classes: Classes) -> Map:
    """Where the last layer looks, mean over its heads: what the other methods are held against.

    The class token's row, or the attention that each patch receives; the same for any class.
    """
    encoder_layers(model)  # says what to use where there are none
    return last_layer_map(model, pixels)


def rollout_map(
    model: VisionModel,
    pixels: Float[Tensor, "B C H W"],
    classes: Classes,
    *,
    head_fusion: HeadFusion = "mean",
    discard: float = 0.0,
) -> Map:
    """How much of each patch is in what the head reads, if attention were all that mixes tokens.

    The same for any class. Equal to `rollout` (Abnar and Zuidema, 2020, section 3), of which it computes only the rows
    that count. Shares of 1, of which prefix tokens keep some.

    Args:
        head_fusion, discard: as in `rollout`; prefix tokens are never discarded.
    """
    with torch.no_grad():
        looks, tokens = looked_through(model, pixels)
        start = reading(model, tokens)
        fused = []
        for look in looks:
            prefix = look.given.k.shape[2] - tokens.patches.shape[1]
            # Talking heads may give less than nothing, which no share can be.
            fused.append(fuse_heads(look.weights(), head_fusion, discard, prefix=prefix).clamp(min=0))
        return patch_map(rolled_back(start.to(fused[0].dtype), fused), tokens)


def rolled_back(row: Float[Tensor, "B N"], layers: Layers) -> Float[Tensor, "B M"]:
    """row · rollout: each layer is averaged with the identity, its rows made to sum to 1, from the last to the first.

    Args:
        row: shares of the last tokens.
        layers: fused heads of each layer, none negative.
    """
    for layer in reversed(layers):
        queries, keys = layer.shape[1:]
        row = row[:, -keys:]
        asked = row[:, :queries] / (1 + layer.sum(dim=2))
        row = torch.cat([asked, row[:, queries:]], dim=1) + (asked.unsqueeze(1) @ layer).squeeze(1)
    return row
