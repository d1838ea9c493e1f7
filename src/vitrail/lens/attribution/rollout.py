"""Attention rollout as a map, computed only for the rows that the head reads."""

import torch
from jaxtyping import Float
from torch import Tensor

from ...nn import VisionModel
from ..rollout import HeadFusion, fuse_heads
from .layers import Layers, looked_through, reading
from .method import Method
from .passes import Map, Pixels, Targets, patch_map


def rollout_map(
    model: VisionModel,
    pixels: Pixels,
    targets: Targets,
    *,
    head_fusion: HeadFusion = "mean",
    discard: float = 0.0,
) -> Map:
    """Share of each patch in the tokens that the head reads, if only attention mixed tokens; the same for any target.

    Equal to the rows of `rollout` (Abnar and Zuidema, 2020, section 3) that the head reads. The shares of patches and
    prefix tokens sum to 1.

    Args:
        head_fusion, discard: as in `rollout`; prefix tokens are never discarded.
    """
    with torch.no_grad():
        looks, tokens = looked_through(model, pixels)
        start = reading(model, tokens)
        fused = []
        for look in looks:
            prefix = look.given.k.shape[2] - tokens.patches.shape[1]
            # Talking heads may have negative weights, which cannot be shares.
            fused.append(fuse_heads(look.weights(), head_fusion, discard, prefix=prefix).clamp(min=0))
        return patch_map(rolled_back(start.to(fused[0].dtype), fused), tokens)


def rolled_back(row: Float[Tensor, "B N"], layers: Layers) -> Float[Tensor, "B M"]:
    """row · rollout: each layer is averaged with the identity, its rows normalised to sum 1, from last to first.

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


METHOD = Method("Rollout", rollout_map, signed=False, by_class=False, quick=True)
