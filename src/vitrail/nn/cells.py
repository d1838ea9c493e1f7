"""Which token each cell of the image has: functions of `Tokens.cover`."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

NO_TOKEN = -1
"""Value in `Tokens.cover` for a cell without a token."""


def fold(values: Float[Tensor, "*batch P"], cover: Int[Tensor, "images *grid"]) -> Float[Tensor, "..."]:
    """Put values of patch tokens on the cells of the image that the tokens represent; 0 for cells without a token.

    Args:
        values: (images, ..., P), one for each patch token.
        cover: `Tokens.cover`, (images, *grid).
    """
    owners = absent_last(cover.flatten(1), values.shape[-1])
    owners = owners.reshape(owners.shape[0], *(1,) * (values.ndim - 2), -1).expand(*values.shape[:-1], -1)
    padded = torch.nn.functional.pad(values, (0, 1))
    return padded.gather(-1, owners).unflatten(-1, tuple(cover.shape[1:]))


def mean_over_cells(
    values: Float[Tensor, "h cells F"], cover: Int[Tensor, "images *grid"], count: int
) -> Float[Tensor, "images h P F"]:
    """Mean of values of the cells over the cells of each of `count` patch tokens; 0 for tokens without a cell."""
    owners = absent_last(cover.flatten(1), count)
    at = owners[:, None, :, None].expand(-1, values.shape[0], -1, values.shape[2])
    total = values.new_zeros(owners.shape[0], values.shape[0], count + 1, values.shape[2])
    total = total.scatter_add(2, at, values.expand_as(at))[:, :, :-1]
    return total / sizes(cover, count).clamp(min=1)[:, None, :, None]


def sizes(cover: Int[Tensor, "images *grid"], count: int) -> Int[Tensor, "images P"]:
    """Number of cells of each of `count` patch tokens; 0 for tokens without a cell."""
    owners = absent_last(cover.flatten(1), count)
    return owners.new_zeros(owners.shape[0], count + 1).scatter_add(1, owners, torch.ones_like(owners))[:, :-1]


def renamed(cover: Int[Tensor, "B *grid"], names: Int[Tensor, "B P"]) -> Int[Tensor, "B *grid"]:
    """Replace the token indices of a cover; the last column of `names` is for cells without a token."""
    owners = absent_last(cover.flatten(1), names.shape[1] - 1)
    return names.gather(1, owners).view_as(cover)


def absent_last(owners: Int[Tensor, "images cells"], count: int) -> Int[Tensor, "images cells"]:
    """Replace `NO_TOKEN` by `count`, an index behind those of all tokens."""
    return torch.where(owners == NO_TOKEN, count, owners)


def counting_dtype(x: Tensor) -> torch.dtype:
    """The dtype of numbers of cells beside `x`: float32, or float64 if `x` is; half precision has no large integers."""
    return torch.promote_types(x.dtype, torch.float32)
