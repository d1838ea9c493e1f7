"""Measures of attention, positions, features and gradients."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import VitrailError
from ..nn import LearnedPositions, Tokens, mean_over_cells
from .layout import Layout, over_image
from .naming import find_module
from .observe import observe_features
from .outputs import run


def attention_distance(
    weights: Float[Tensor, "BG h n m"], layout: Layout, patch_size: float = 1.0
) -> Float[Tensor, "B h"]:
    """Mean attention distance of each head: mean distance between a patch and the patches that it attends to.

    Dosovitskiy et al. (2021), "An image is worth 16x16 words", section 4.5 and figure 7: distances between centres of
    patches, weighted by attention, then averaged over queries. Attention to prefix tokens is ignored, and the rest is
    normalised to sum to 1. A token of several cells is at their mean position.

    Args:
        weights: all rows of a layer, from `observe_attention`.
        layout: layout of the layer.
        patch_size: side of a query's patch, in pixels; the distance has the same unit.

    Raises:
        VitrailError: the patches are not on a grid of two dimensions.
    """
    if len(layout.grid) != 2 or len(layout.key_grid) != 2:
        raise VitrailError(f"distances need a grid of rows and columns, not {layout.grid} to {layout.key_grid}")
    whole = over_image(weights, layout)[..., layout.prefix :, layout.key_prefix :]
    rows, columns = layout.grid
    scale = (rows / layout.key_grid[0], columns / layout.key_grid[1])
    asked = _token_centres(_centres(layout.grid, (1, 1), whole), layout.cover)
    between = torch.cdist(asked, _token_centres(_centres(layout.key_grid, scale, whole), layout.key_cover))
    looks = whole.sum(dim=-1)
    far = (whole * between).sum(dim=-1) / looks.clamp(min=torch.finfo(whole.dtype).tiny)
    return patch_size * far.sum(dim=-1) / (looks > 0).sum(dim=-1).clamp(min=1)


def _token_centres(
    centres: Float[Tensor, "cells 2"], cover: Int[Tensor, "images *grid"] | None
) -> Float[Tensor, "*images P 2"]:
    """Mean position of the cells of each token, with a dimension for the heads; of each cell without a cover."""
    return centres if cover is None else mean_over_cells(centres[None], cover, int(cover.max()) + 1)


def position_similarity(model: nn.Module) -> Float[Tensor, "H W H2 W2"]:
    """Cosine similarity between the learned position of each patch and those of all others; [r, c] is a map.

    Dosovitskiy et al. (2021), figure 7: neighbouring positions are similar, and so are those in one row or column.

    Raises:
        VitrailError: the model has no learned positions of patches.
    """
    positions = next((part for part in model.modules() if isinstance(part, LearnedPositions)), None)
    if positions is None or len(positions.grid) != 2:
        raise VitrailError(
            f"{type(model).__name__} has no learned position for each patch, so there is no similarity to compute"
        )
    vectors = nn.functional.normalize(positions.weight[0, positions.prefix :].detach(), dim=-1)
    return (vectors @ vectors.T).unflatten(1, positions.grid).unflatten(0, positions.grid)


def feature_pca(maps: Float[Tensor, "B D H W"], components: int = 3) -> Float[Tensor, "B K H W"]:
    """First principal components of feature maps, each scaled to [0, 1]: three of them form a colour.

    They are computed over the patches of all images together, so that colours are comparable between images (Oquab et
    al., 2023, "DINOv2", section 7.5). The sign of a component is chosen so that its largest entry is positive.

    Raises:
        VitrailError: there are more components than channels or patches.
    """
    rows = maps.detach().double().movedim(1, -1)
    flat = rows.flatten(0, -2)
    if components > min(flat.shape):
        raise VitrailError(
            f"{components} components of {flat.shape[0]} patches of width {flat.shape[1]}: ask for fewer"
        )
    flat = flat - flat.mean(dim=0)
    axes = torch.linalg.svd(flat, full_matrices=False).Vh[:components]
    axes = axes * axes.take_along_dim(axes.abs().argmax(dim=1, keepdim=True), dim=1).sign()
    seen = flat @ axes.T
    low, high = seen.amin(dim=0), seen.amax(dim=0)
    scaled = (seen - low) / (high - low).clamp(min=torch.finfo(seen.dtype).tiny)
    return scaled.unflatten(0, rows.shape[:-1]).movedim(-1, 1).to(maps.dtype)


def effective_receptive_field(
    model: nn.Module, pixels: Float[Tensor, "B C H W"], name: str, *, projections: int | None = None, seed: int = 0
) -> Float[Tensor, "H W"]:
    """Influence of each pixel on the central token of a module's map, as a fraction of the total.

    The mean over images, projections z and channels of |∂ (z · token) / ∂ pixel|, with z drawn from a normal
    distribution; sums to 1. Luo et al. (2016), "Understanding the effective receptive field in deep convolutional
    neural networks", section 2, take one channel. The sum of all channels says nothing after a layer norm, which keeps
    it constant; in expectation random projections give the norm of the Jacobian for each pixel and channel.

    Args:
        model: in evaluation mode.
        name: a module whose output is `Tokens` or a map (B, D, h, w): "blocks.3", "embed".
        projections: number of random projections for each image; a backward pass each. By default 8 in all images
            together, at least 1 for each.
        seed: seed of the projections.

    Raises:
        VitrailError: the module has another output, or does not depend on the pixels; no projection.
    """
    if projections is None:
        projections = max(1, 8 // len(pixels))
    if projections < 1:
        raise VitrailError(f"{projections} projections are too few: ask for at least 1")
    find_module(model, name)
    given = pixels.detach().clone().requires_grad_()
    with observe_features(model, name) as seen, torch.enable_grad():
        run(model, given)
    out = seen[name]
    image = out.map if isinstance(out, Tokens) else out
    if not isinstance(image, Tensor) or image.ndim != 4:
        raise VitrailError(f"{name} gives no map of rows and columns: name an embedding, a block or a stage")
    token = image[:, :, image.shape[2] // 2, image.shape[3] // 2]
    drawn = torch.randn(projections, *token.shape, generator=torch.Generator().manual_seed(seed))
    field = torch.zeros_like(given[0, 0])
    for place, z in enumerate(drawn.to(token)):
        (gradient,) = torch.autograd.grad(token, given, z, retain_graph=place < projections - 1)
        field += gradient.abs().mean(dim=(0, 1))
    return field / field.sum().clamp(min=torch.finfo(field.dtype).tiny)


def _centres(grid: tuple[int, ...], scale: tuple[float, float], like: Tensor) -> Float[Tensor, "N 2"]:
    """(row, column) of the centre of each cell, whose sides are `scale` queries."""
    rows, columns = (
        (torch.arange(length, dtype=like.dtype, device=like.device) + 0.5) * step
        for length, step in zip(grid, scale, strict=True)
    )
    return torch.cartesian_prod(rows, columns)
