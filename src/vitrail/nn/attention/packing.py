"""Several pictures, of any number of tokens each, in one sequence: nothing is computed on padding."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..tokens import Tokens
from .attend import Attend
from .projections import JointProjection


def pack(sequences: list[Float[Tensor, "_ D"]], grid: tuple[int, ...], prefix: int = 0) -> Tokens:
    """Sequences of different lengths behind one another (Dehghani et al., 2023, "Patch n' Pack", section 2.1)."""
    lengths = tuple(sequence.shape[0] for sequence in sequences)
    return Tokens(torch.cat(sequences)[None], grid, prefix, lengths)


def join(pictures: list[Tokens]) -> Tokens:
    """Tokens of several pictures of any size, each packed or alone, in one sequence."""
    lengths = tuple(length for tokens in pictures for length in tokens.lengths or tokens.x.shape[1:2] * len(tokens.x))
    x = torch.cat([tokens.x.flatten(0, 1) for tokens in pictures])
    return Tokens(x[None], pictures[0].grid, pictures[0].prefix, lengths)


def unpack(tokens: Tokens) -> list[Float[Tensor, "_ D"]]:
    """The sequence of each picture."""
    return list(tokens.x[0].split(list(tokens.lengths)))


class SegmentMask(nn.Module):
    """What `MultiHeadAttention` takes as `bias`, so that packed pictures do not see each other: Tokens -> (N, N).

    The dense way, whose cost grows with the square of the whole sequence; `PackedAttention` is the fast one.
    """

    def forward(self, tokens: Tokens) -> Float[Tensor, "N N"]:
        lengths = torch.tensor(tokens.lengths, device=tokens.x.device)
        picture = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
        apart = picture[:, None] != picture[None, :]
        return torch.zeros(apart.shape, device=apart.device, dtype=tokens.x.dtype).masked_fill(apart, -torch.inf)


class PackedAttention(nn.Module):
    """`MultiHeadAttention` for packed pictures: each looks at itself. Parts and names are the same.

    The projections run over the whole sequence at once, the attention over pictures of the same length together.
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
    """An order of the tokens that brings pictures of the same length together, and (pictures, length) of each run."""
    of_picture = torch.tensor(lengths, device=device)
    order = of_picture.repeat_interleave(of_picture).argsort(stable=True)
    return order, [(lengths.count(length), length) for length in sorted(set(lengths))]


class PackedPrefixTokens(nn.Module):
    """Learned tokens in front of each packed picture; the weights of `PrefixTokens`."""

    def __init__(self, dim: int, count: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, count, dim))
        nn.init.normal_(self.weight, std=1e-6)

    def forward(self, tokens: Tokens) -> Tokens:
        lead = self.weight[0].to(tokens.x.dtype)
        sequences = [torch.cat([lead, sequence]) for sequence in unpack(tokens)]
        return pack(sequences, tokens.grid, tokens.prefix + lead.shape[0])


class PackedFirstToken(nn.Module):
    """The class token of each packed picture: Tokens -> (B, D)."""

    def forward(self, tokens: Tokens) -> Float[Tensor, "B D"]:
        lengths = torch.tensor(tokens.lengths, device=tokens.x.device)
        return tokens.x[0, lengths.cumsum(0) - lengths]
