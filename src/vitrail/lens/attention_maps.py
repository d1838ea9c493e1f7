"""Attention maps of a layer over the grid of its keys, and over the picture that shows an image or a clip."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import VitrailError
from ..nn import CLASS_TOKEN, TokensRead
from ..pages.image import in_rows, shown_frames
from .layout import Layout, over_image, received
from .observe import Attention, observe_attention
from .outputs import hides_patches, image_model
from .rollout import class_token_map


def last_layer_map(model: nn.Module, pixels: Float[Tensor, "B C *size"]) -> Float[Tensor, "B rows columns"]:
    """Attention map of the last layer as a picture: of videos that of the frames that are shown, in two rows.

    Raises:
        VitrailError: as `last_layer_attention`.
    """
    maps, layout = last_layer_attention(model, pixels)
    return drawn_over(maps, layout, pixels.shape[2] if pixels.ndim == 5 else None)


def last_layer_attention(
    model: nn.Module, pixels: Float[Tensor, "B C *size"]
) -> tuple[Float[Tensor, "B *grid"], Layout]:
    """Attention map of the last layer, mean over its heads, for a batch and a model in evaluation mode.

    It is the attention of the tokens that the head reads, see `looked_at`; the pool, if the head has one, is a layer.

    Returns:
        maps: over the grid of the patches.
        layout: layout of the layer.

    Raises:
        VitrailError: a model without attention over one grid of patches, or whose head is a decoder of hidden patches.
    """
    if hides_patches(model):
        raise VitrailError("the head of this model reconstructs hidden patches: explain the encoder, with `explain`")
    model = image_model(model)
    with observe_attention(model, layers=-1) as seen, torch.inference_mode():
        model(pixels)
    (layer,) = seen
    if not looks_at_patches(seen, layer):
        raise VitrailError("the keys of the last attention of this model are not the patches of one regular grid")
    layout = seen.layout(layer)
    return looked_at(seen[layer], layout, seen.reads).mean(dim=1), layout


def looked_at(
    weights: Float[Tensor, "BG h n m"], layout: Layout, reads: TokensRead = CLASS_TOKEN
) -> Float[Tensor, "B h *key_grid"]:
    """Attention map of each head over the grid of the keys, from all rows of `observe_attention`.

    It is the mean of the rows of the tokens that the head reads: the class token's, or the mean of the patches' rows,
    the attention that each patch receives from the patches. In a layer whose queries are patches only it is always the
    latter.

    Args:
        weights: weights of a layer, also in windows.
        layout: layout of the layer.
        reads: tokens that the head reads, `Attention.reads`.
    """
    found = reads.within(layout.prefix)
    if layout.prefix and _asks(layout, found.prefix):
        whole = over_image(weights, layout)
        rows = [whole[:, :, number] for number in found.prefix]
        rows += [whole[:, :, layout.prefix :].mean(dim=2)] if found.patches else []
        row = torch.stack(rows).mean(dim=0).unsqueeze(2)
        return class_token_map(row, layout.key_grid, layout.key_prefix, layout.key_cover)
    each = received(weights, layout).unsqueeze(2)[..., layout.key_prefix :]
    return class_token_map(each, layout.key_grid, 0, layout.key_cover)


def _asks(layout: Layout, tokens: Sequence[int]) -> bool:
    """Whether all of these prefix tokens are queries; along the time of a video none is."""
    if layout.places is None:
        return True
    there = set(layout.places.queries.flatten().tolist())
    return there.issuperset(tokens)


def looks_at_patches(seen: Attention, layer: int) -> bool:
    """Whether the keys of a layer are the patches of an image, or of the frames of a clip."""
    # A text and the queries of a decoder have a grid of one dimension; that of a video has three.
    return len(seen.layout(layer).key_grid) in (2, 3)


def over_frames(maps: Float[Tensor, "*batch T rows columns"], frames: int) -> Float[Tensor, "*batch rows2 columns2"]:
    """Maps over a video put together for the frames that `displayable` shows of a clip.

    Args:
        maps: a map for each of T equal parts of the time.
        frames: number of frames of the clip.
    """
    times = maps.shape[-3]
    return in_rows([maps[..., index * times // frames, :, :] for index in shown_frames(frames)])


def drawn_over(maps: Tensor, layout: Layout, frames: int | None) -> Tensor:
    """Maps over the image, or with a number of frames over those of a clip that are shown."""
    return over_frames(maps, frames) if frames is not None and len(layout.key_grid) == 3 else maps
