"""Packing of images with different numbers of tokens into one sequence, without padding."""

from math import prod

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..cells import NO_TOKEN
from ..tokens import Tokens
from .attend import Attend
from .projections import JointProjection


def pack(sequences: list[Float[Tensor, "_ D"]], grid: tuple[int, ...], prefix: int = 0) -> Tokens:
    """Concatenate sequences of different lengths (Dehghani et al., 2023, "Patch n' Pack", section 2.1).

    Args:
        sequences: (N_i, D), one for each image.
        grid, prefix: as in `Tokens`.
    """
    lengths = tuple(sequence.shape[0] for sequence in sequences)
    return Tokens(torch.cat(sequences)[None], grid, prefix, lengths)


def pack_tokens(batches: list[Tokens]) -> Tokens:
    """Concatenate tokens of images of any sizes, packed or not, to one packed sequence.

    The grid is the smallest that contains the grid of every image, at its top left; cells outside an image have no
    token.
    """
    lengths = tuple(length for tokens in batches for length in tokens.lengths or tokens.x.shape[1:2] * len(tokens.x))
    x = torch.cat([tokens.x.flatten(0, 1) for tokens in batches])
    grid = tuple(map(max, *(tokens.grid for tokens in batches))) if len(batches) > 1 else batches[0].grid
    cover = torch.cat([_enlarged(_cover(tokens), grid) for tokens in batches])
    return Tokens(x[None], grid, batches[0].prefix, lengths, cover)


def _cover(tokens: Tokens) -> Int[Tensor, "B *grid"]:
    """The cover of the tokens, computed if it is None."""
    if tokens.cover is not None:
        return tokens.cover
    numbers = torch.arange(prod(tokens.grid), device=tokens.x.device).view(tokens.grid)
    return numbers.expand(len(tokens.lengths) or len(tokens.x), *tokens.grid)


def _enlarged(cover: Int[Tensor, "B *grid"], grid: tuple[int, ...]) -> Int[Tensor, "B *larger"]:
    missing = [new - old for new, old in zip(grid, cover.shape[1:], strict=True)]
    return F.pad(cover, [side for count in reversed(missing) for side in (0, count)], value=NO_TOKEN)


def unpack(tokens: Tokens) -> list[Float[Tensor, "_ D"]]:
    """Split packed tokens into the sequence of each image, (N_i, D), prefix included."""
    return list(tokens.x[0].split(list(tokens.lengths)))


class SegmentMask(nn.Module):
    """Block-diagonal mask of packed images, a `bias` of `MultiHeadAttention`: Tokens -> (N, N), 0 or minus infinity.

    Its cost grows with the square of the whole sequence; `PackedAttention` computes the same faster.
    """

    def forward(self, tokens: Tokens) -> Float[Tensor, "N N"]:
        lengths = torch.tensor(tokens.lengths, device=tokens.x.device)
        image = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
        apart = image[:, None] != image[None, :]
        return torch.zeros(apart.shape, device=apart.device, dtype=tokens.x.dtype).masked_fill(apart, -torch.inf)


class PackedAttention(nn.Module):
    """`MultiHeadAttention` inside each packed image. Tokens -> Tokens; parameters and names are the same.

    The projections run over the whole sequence at once, the attention over all images of one length at once.

    Args:
        dim, num_heads, dropout: as in `MultiHeadAttention`.
    """

    def __init__(self, dim: int, num_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = JointProjection(dim, num_heads)
        self.attend = Attend()
        self.project = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, tokens: Tokens) -> Tokens:
        order, runs = by_length(tokens.lengths, tokens.x.device)
        parts = self.qkv(tokens.with_x(tokens.x[:, order]))
        whole = zip(*(part[0].split([count * length for count, length in runs], dim=1) for part in parts), strict=True)
        heads = []
        for (count, length), run in zip(runs, whole, strict=True):
            q, k, v = (part.unflatten(1, (count, length)).transpose(0, 1) for part in run)
            heads.append(self.attend(q, k, v).transpose(1, 2).flatten(2).flatten(0, 1))
        joined = torch.cat(heads)[order.argsort()]
        return tokens.with_x(self.dropout(self.project(joined))[None])


def by_length(lengths: tuple[int, ...], device: torch.device) -> tuple[Int[Tensor, " N"], list[tuple[int, int]]]:
    """Return an order of the tokens that groups images of one length, and (images, length) of each group."""
    of_picture = torch.tensor(lengths, device=device)
    order = of_picture.repeat_interleave(of_picture).argsort(stable=True)
    return order, [(lengths.count(length), length) for length in sorted(set(lengths))]
