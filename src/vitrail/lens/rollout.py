"""Attention rollout, and attention as maps over the image. Pure functions of observed weights."""

from collections.abc import Callable, Iterable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import VitrailError, nearest
from ..nn import fold, sizes

HeadFusion = Literal["mean", "max", "min"]
_FUSIONS: dict[str, Callable[..., Tensor]] = {"mean": torch.mean, "max": torch.amax, "min": torch.amin}


def rollout(
    weights: Iterable[Float[Tensor, "B h N N"]],
    head_fusion: HeadFusion = "mean",
    discard: float = 0.0,
    *,
    prefix: int = 1,
) -> Float[Tensor, "B N N"]:
    """Attention rollout: the share of each input token in each output token, if only attention mixed them.

    Abnar and Zuidema (2020), "Quantifying attention flow in transformers", section 3: the weights of each layer, fused
    over heads, are averaged with the identity (the residual stream), normalised to sum to 1 in every row, and
    multiplied, last layer leftmost. Images of the batch are independent.

    Args:
        weights: all rows of every layer, from first to last: `seen.values()` of `observe_attention(model)`.
        head_fusion: "mean" as published, or "max" or "min" over the heads.
        discard: fraction, in [0, 1), of the lowest weights of each row that are set to 0 (rounded down). Not in the
            paper; it reduces noise.
        prefix: number of leading tokens that are never discarded: 1 keeps the class token, 0 for a model
            without one.

    Returns:
        (B, N, N), rows are output tokens and sum to 1, columns are input tokens.

    Raises:
        VitrailError: no layers, layers of different shapes, weights that are not square, or an unknown fusion or
            fraction.
    """
    product: Tensor | None = None
    for layer in weights:
        _check(layer, product)
        fused = fuse_heads(layer, head_fusion, discard, prefix=prefix)
        mixed = (fused + torch.eye(fused.shape[-1], dtype=fused.dtype, device=fused.device)) / 2
        mixed = mixed / mixed.sum(dim=-1, keepdim=True)
        product = mixed if product is None else mixed @ product
    if product is None:
        raise VitrailError("rollout needs the weights of at least one layer")
    return product


def fuse_heads(
    weights: Float[Tensor, "B h R M"], head_fusion: HeadFusion = "mean", discard: float = 0.0, *, prefix: int = 1
) -> Float[Tensor, "B R M"]:
    """Fuse the weights of a layer's heads to one map, the lowest of each row set to 0; arguments as in `rollout`."""
    if head_fusion not in _FUSIONS:
        raise VitrailError(f"there is no head fusion {head_fusion!r}: {nearest(head_fusion, _FUSIONS)}")
    if not 0 <= discard < 1:
        raise VitrailError(f"discard {discard} is not in [0, 1): it is the share of the weights that is set to 0")
    return _drop_lowest(_FUSIONS[head_fusion](weights, dim=1), discard, prefix)


def class_token_map(
    weights: Float[Tensor, "*batch R M"],
    grid: tuple[int, ...],
    prefix: int,
    cover: Int[Tensor, "images *grid"] | None = None,
) -> Float[Tensor, "*batch_and_grid"]:
    """Attention weights, or a rollout, of the class token as a map over the image.

    With prefix tokens it is the class token's row over the patches; it sums to 1 minus the weights of the prefix.
    Without prefix tokens (mean pooling) it is the mean over all rows, the attention that each patch receives, and sums
    to 1. The weight of a token that covers several cells is divided evenly among them; cells without a token are 0.

    Args:
        weights: (..., R, M), rows from the first on; those of `observe_attention(..., rows="prefix")` suffice if there
            is a prefix.
        grid: (H, W) of the patches, or (T, H, W) of a video.
        prefix: number of prefix tokens.
        cover: the patch token of each cell, `Layout.key_cover`, if tokens are hidden, merged or of several sizes.

    Raises:
        VitrailError: M is not prefix + the number of patch tokens, which is H · W without a cover.
    """
    patches = weights[..., prefix:]
    if cover is not None:
        return _covered(patches[..., 0, :] if prefix else patches.mean(dim=-2), grid, cover)
    count = torch.Size(grid).numel()
    if patches.shape[-1] != count:
        raise VitrailError(
            f"{weights.shape[-1]} tokens are not {prefix} prefix tokens and a grid of "
            f"{' × '.join(map(str, grid))}: take both from `seen.layout(layer)`"
        )
    row = patches[..., 0, :] if prefix else patches.mean(dim=-2)
    return row.unflatten(-1, tuple(grid))


def _covered(
    row: Float[Tensor, "*batch P"], grid: tuple[int, ...], cover: Int[Tensor, "images *grid"]
) -> Float[Tensor, "*batch H W"]:
    count = int(cover.max()) + 1
    if row.shape[-1] != count or tuple(cover.shape[1:]) != tuple(grid) or len(cover) not in (1, len(row)):
        raise VitrailError(
            f"weights {tuple(row.shape)} of patch tokens do not fit a cover {tuple(cover.shape)} of {count} tokens "
            f"and a grid of {' × '.join(map(str, grid))}: take grid, prefix and cover from `seen.layout(layer)`"
        )
    cells = sizes(cover, count).clamp(min=1)
    return fold(row / cells.reshape(len(cells), *(1,) * (row.ndim - 2), count), cover)


def _check(layer: Tensor, product: Tensor | None) -> None:
    if layer.ndim != 4 or layer.shape[2] != layer.shape[3]:
        raise VitrailError(f"weights of shape {tuple(layer.shape)} are not (B, h, N, N): observe all rows, rows=None")
    if product is not None and product.shape != (layer.shape[0], *layer.shape[2:]):
        raise VitrailError(
            f"a layer of shape {tuple(layer.shape)} does not follow one of {tuple(product.shape)}: rollout"
            " needs the same images and tokens in every layer; drop path leaves some out: call model.eval()"
        )


def _drop_lowest(fused: Float[Tensor, "B R M"], discard: float, prefix: int) -> Float[Tensor, "B R M"]:
    dropped = int(discard * (fused.shape[-1] - prefix))
    if dropped == 0:
        return fused
    lowest = fused[..., prefix:].argsort(dim=-1, stable=True)[..., :dropped] + prefix
    return fused.scatter(-1, lowest, 0.0)
