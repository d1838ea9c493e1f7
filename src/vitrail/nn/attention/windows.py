"""Attention inside windows of the grid."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, fx, nn

from ..tokens import Tokens
from .places import NOWHERE, Places, numbers


class LocalAttention(nn.Module):
    """Attention inside windows of the grid (Liu et al., 2021, "Swin Transformer", section 3.2). Tokens -> Tokens.

    A grid that is not a multiple of the window is padded with zeros, on the right and at the bottom, as in the
    published models; tokens attend to the padding, and its outputs are dropped. An axis that is not longer than the
    window is one window, which is not shifted. Tokens have no prefix.

    Args:
        attention: (Tokens, mask or None) -> Tokens inside each window, such as `MultiHeadAttention(dim, num_heads)`.
        window: (rows, columns) in tokens.
        shift: (rows, columns) by which the windows are shifted; (0, 0) for no shift.
        apart: added to the scores of tokens that are in one window only because of wrapping around.
        pad_first: pad before the shift, as torchvision and transformers, instead of after it, as timm: only grids that
            are not a multiple of the window differ.
    """

    def __init__(
        self,
        attention: nn.Module,
        window: tuple[int, int] = (7, 7),
        shift: tuple[int, int] = (0, 0),
        *,
        apart: float = -torch.inf,
        pad_first: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(attention, nn.Module):
            raise ValueError(
                f"attention {attention!r} is not a module: LocalAttention takes the attention inside its windows, "
                "such as LocalAttention(MultiHeadAttention(dim, num_heads), window=(7, 7))"
            )
        self.attention = attention
        self.window = window
        self.shift = shift
        self.pad_first = pad_first
        self.mask = ShiftMask(window, shift, apart) if any(shift) else NoMask()

    def forward(self, tokens: Tokens) -> Tokens:
        image = self.moved(tokens.x.unflatten(1, tokens.grid))
        windows = Tokens(partition(image, self.window), grid=self.window)
        image = merge(self.attention(windows, self.mask(image)).x, (image.shape[1], image.shape[2]), self.window)
        if self.pad_first:
            image = _rolled(image, self.window, self.shift)
        image = image[:, : tokens.grid[0], : tokens.grid[1]]
        if not self.pad_first:
            image = _rolled(image, self.window, self.shift)
        return tokens.with_x(image.flatten(1, 2))

    def moved(self, image: Tensor) -> Tensor:
        """Shift (B, H, W, D) and pad it to a multiple of the window."""
        back = -self.shift[0], -self.shift[1]
        if self.pad_first:
            return _rolled(fill_up(image, self.window), self.window, back)
        return fill_up(_rolled(image, self.window, back), self.window)

    def places_of(self, tokens: Tokens) -> Places:
        """Groups of the tokens of each window."""
        image = numbers(tokens.grid, 0, tokens.x.device)[None, ..., None] - NOWHERE  # padding becomes 0
        return Places.among(partition(self.moved(image), self.window)[..., 0] + NOWHERE)


class NoMask(nn.Module):
    """No mask, for windows without a shift, in which all tokens attend to each other."""

    def forward(self, image: Float[Tensor, "B H W D"]) -> None:
        return None


class ShiftMask(nn.Module):
    """Mask of shifted windows: `apart` between tokens that were not neighbours before wrapping around, 0 elsewhere.

    None if no axis is longer than the window, so that nothing is shifted.
    """

    def __init__(self, window: tuple[int, int], shift: tuple[int, int], apart: float) -> None:
        super().__init__()
        self.window = window
        self.shift = shift
        self.apart = apart

    def forward(self, image: Float[Tensor, "B H W D"]) -> Float[Tensor, "_ 1 N N"] | None:
        # torch.fx gives a proxy, whose shape is unknown: its graphs always have a mask.
        if isinstance(image, Tensor) and not any(effective_shift(image, self.window, self.shift)):
            return None
        return _shift_mask(image, self.window, self.shift, self.apart)


def effective_shift(image: Tensor, window: tuple[int, int], shift: tuple[int, int]) -> tuple[int, int]:
    """The shift of (B, H, W, D), with or without padding: 0 along an axis that is not longer than the window."""
    rows, columns = image.shape[1], image.shape[2]
    return shift[0] if rows > window[0] else 0, shift[1] if columns > window[1] else 0


# torch.fx cannot trace code that depends on shapes: calls of these functions are leaves of its graphs.


@fx.wrap
def _rolled(
    image: Shaped[Tensor, "B H W D"], window: tuple[int, int], shift: tuple[int, int]
) -> Shaped[Tensor, "B H W D"]:
    moved = effective_shift(image, window, shift)
    return torch.roll(image, moved, dims=(1, 2)) if any(moved) else image


@fx.wrap
def _shift_mask(
    image: Float[Tensor, "B H W D"], window: tuple[int, int], shift: tuple[int, int], apart: float
) -> Float[Tensor, "_ 1 N N"]:
    moved = effective_shift(image, window, shift)
    regions = shifted_regions((image.shape[1], image.shape[2]), window, moved, image.device)
    parts = partition(regions[None, ..., None], window)
    split: Bool[Tensor, "W N N"] = parts != parts.transpose(1, 2)
    mask = torch.zeros(split.shape, device=image.device, dtype=image.dtype).masked_fill(split, apart)
    return mask.unsqueeze(1).repeat(image.shape[0], 1, 1, 1)


def shifted_regions(
    grid: tuple[int, int], window: tuple[int, int], shift: tuple[int, int], device: torch.device
) -> Int[Tensor, "H W"]:
    """Region of each cell: cells of one window and one region were neighbours before the shift."""

    def strips(length: int, side: int, moved: int) -> Tensor:
        place = torch.arange(length, device=device)
        return (place >= length - side).long() + (place >= length - moved).long()

    return 3 * strips(grid[0], window[0], shift[0])[:, None] + strips(grid[1], window[1], shift[1])


def fill_up(image: Shaped[Tensor, "B H W D"], window: tuple[int, int]) -> Shaped[Tensor, "B H2 W2 D"]:
    """Pad with zeros on the right and at the bottom to a multiple of the window."""
    return F.pad(image, (0, 0, 0, -image.shape[2] % window[1], 0, -image.shape[1] % window[0]))


def partition(image: Tensor, window: tuple[int, int]) -> Tensor:
    """(B, H, W, D) -> (B × windows, rows × columns, D), window by window."""
    parts = image.unflatten(2, (-1, window[1])).unflatten(1, (-1, window[0]))
    return parts.transpose(2, 3).flatten(3, 4).flatten(0, 2)


def merge(windows: Tensor, grid: tuple[int, ...], window: tuple[int, int]) -> Tensor:
    """Inverse of `partition`."""
    rows, columns = grid[0] // window[0], grid[1] // window[1]
    parts = windows.unflatten(1, window).unflatten(0, (-1, rows, columns))
    return parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)
