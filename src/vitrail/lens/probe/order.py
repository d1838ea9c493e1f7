"""Dependence of features and predictions on position: shifted images and shuffled patches."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...data.seeds import derive, permutation
from ...errors import VitrailError
from ...nn import Tokens, joined
from ..observe import observe_features

Pixels = Float[Tensor, "B C H W"]


@dataclass(frozen=True, slots=True)
class Shift:
    """The effect of a shift on a feature map.

    Attributes:
        pixels: size of the shift, to the right.
        moved: correlation of the shifted image's map with the map shifted likewise: 1 if the model is equivariant.
        still: correlation with the original map: 1 if the model is invariant.
    """

    pixels: int
    moved: float
    still: float


@torch.inference_mode()
def shift_equivariance(model: nn.Module, pixels: Pixels, name: str, shifts: Sequence[int]) -> tuple[Shift, ...]:
    """Shift equivariance of a module's map, for shifts to the right in pixels.

    The image is shifted circularly, and only columns without a wrapped edge in either map are compared. A shift that is
    not a multiple of the map's stride is interpolated between two columns. Correlation is Pearson's, over images,
    channels and positions, with each channel's mean subtracted.

    Args:
        model: in evaluation mode.
        name: a module whose output is `Tokens` or a map (B, D, h, w), such as "blocks.3".
        shifts: from 0 to less than half of the width.

    Raises:
        VitrailError: the module does not exist or has no map, or a shift is too large.
    """
    width = pixels.shape[3]
    if any(not 0 <= shift < width / 2 for shift in shifts):
        raise VitrailError(f"shifts {list(shifts)} px do not fit: give 0 to less than half of the width, {width} px")
    before = _map(model, pixels, name)
    return tuple(_shifted(model, pixels, name, before, shift) for shift in shifts)


def _shifted(model: nn.Module, pixels: Pixels, name: str, before: Tensor, shift: int) -> Shift:
    after = _map(model, pixels.roll(shift, dims=3), name)
    cells = shift * before.shape[3] / pixels.shape[3]
    whole, part = int(cells), cells - int(cells)
    follows = (1 - part) * before.roll(whole, dims=3) + part * before.roll(whole + 1, dims=3)
    first = whole + 1 if part else whole
    return Shift(
        shift,
        correlation(after[..., first:], follows[..., first:]),
        correlation(after[..., first:], before[..., first:]),
    )


def correlation(one: Float[Tensor, "B D h w"], other: Float[Tensor, "B D h w"]) -> float:
    """Pearson's correlation with each channel centred separately; 0 if one of the maps is constant."""
    first, second = (maps.double() - maps.double().mean(dim=(0, 2, 3), keepdim=True) for maps in (one, other))
    product = (first * second).sum() / (first.norm() * second.norm()).clamp(min=torch.finfo(torch.float64).tiny)
    return product.item()


def shuffle_patches(pixels: Pixels, patch: int | tuple[int, int], seed: int) -> Pixels:
    """Shuffle the patches of images, in the same order for all images of the batch.

    Naseer et al. (2021), "Intriguing properties of vision transformers", section 3.2.

    Raises:
        VitrailError: patches that do not tile the image.
    """
    rows, columns = (patch, patch) if isinstance(patch, int) else patch
    if pixels.shape[2] % rows or pixels.shape[3] % columns:
        raise VitrailError(f"patches of {rows}×{columns} do not tile an image of {pixels.shape[2]}×{pixels.shape[3]}")
    cut = F.unfold(pixels, (rows, columns), stride=(rows, columns))
    order = permutation(cut.shape[2], derive(seed, "patches"))
    return F.fold(cut[:, :, order], pixels.shape[2:], (rows, columns), stride=(rows, columns))


@contextmanager
def shuffled_tokens(model: nn.Module, seed: int) -> Iterator[None]:
    """Context manager that shuffles the embedding's patch tokens, each with its own position.

    The output of a ViT with learned positions does not change, because its blocks treat tokens as a set. It changes for
    models with windows, relative or rotary positions, convolutions or token mixing.

    Raises:
        VitrailError: the model has no embedding whose output is tokens.
    """

    def hook(embed: nn.Module, given: Any, tokens: Any) -> Tokens:
        if not isinstance(tokens, Tokens) or tokens.lengths:
            raise VitrailError("the embedding of this model gives no tokens of one grid, so none can be shuffled")
        order = permutation(tokens.patches.shape[1], derive(seed, "tokens"))
        return tokens.with_x(torch.cat([tokens.x[:, : tokens.prefix], tokens.patches[:, order]], dim=1))

    embed = getattr(model, "embed", None)
    if not isinstance(embed, nn.Module):
        raise VitrailError(f"{type(model).__name__} has no module `embed`, where tokens could be shuffled")
    handle = embed.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@dataclass(frozen=True, slots=True)
class OrderTest:
    """Dependence of predictions on the order of patches, 0 to 1, as the mean over images.

    Attributes:
        patches: half the sum of |change of probability| if patches are shuffled without their positions.
        tokens: the same if patches are shuffled with their positions.
    """

    patches: float
    tokens: float


@torch.inference_mode()
def order_dependence(model: nn.Module, pixels: Pixels, patch: int | tuple[int, int], seed: int = 0) -> OrderTest:
    """The permutation test: patches shuffled without and with their positions. See `OrderTest`.

    Raises:
        VitrailError: patches that do not tile the image, or an embedding without tokens.
    """
    before = joined(model(pixels)).float().softmax(dim=1)
    without = joined(model(shuffle_patches(pixels, patch, seed))).float().softmax(dim=1)
    with shuffled_tokens(model, seed):
        along = joined(model(pixels)).float().softmax(dim=1)
    return OrderTest(*((after - before).abs().sum(dim=1).mean().item() / 2 for after in (without, along)))


def _map(model: nn.Module, pixels: Pixels, name: str) -> Float[Tensor, "B D h w"]:
    with observe_features(model, name) as seen:
        model(pixels)
    found = seen[name].map if isinstance(seen[name], Tokens) else seen[name]
    if not isinstance(found, Tensor) or found.ndim != 4:
        raise VitrailError(f"{name} gives no map of rows and columns: name an embedding, a block or a stage")
    return found
