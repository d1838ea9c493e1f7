"""Decoder with learned queries that attend to the tokens of an image."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..attention.multi_head import CrossAttention
from ..blocks import Blocks
from ..tokens import Tokens
from .memory import Memory
from .reading import PATCHES


class QuerySelfAttention(nn.Module):
    """Self-attention of the queries, by which they avoid duplicates (Carion et al., 2020, section 3.2).

    Queries with a grid (G, Q) are G groups, each of which attends to itself (Chen et al., 2023, "Group DETR").
    """

    def __init__(self, dim: int, num_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = CrossAttention(dim, num_heads)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tokens, memory: Memory) -> Tokens:
        placed, values = queries.x + memory.places, queries.x
        if len(queries.grid) > 1:
            placed, values = (x.unflatten(1, queries.grid).flatten(0, 1) for x in (placed, values))
        return queries.with_x(self.dropout(self.attention(placed, placed, values).view_as(queries.x)))


class QueryCrossAttention(nn.Module):
    """Attention of the queries to the memory (Carion et al., 2020, section 3.2)."""

    def __init__(self, dim: int, num_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = CrossAttention(dim, num_heads)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tokens, memory: Memory) -> Tokens:
        placed = queries.x + memory.places
        return queries.with_x(self.dropout(self.attention(placed, memory.keys.x, memory.values.x)))

    def keys_of(self, queries: Tokens, memory: Memory) -> Tokens:
        """The tokens of the image, see `AttendsToOthers`."""
        return memory.keys


class DecoderBlock(nn.Module):
    """Self-attention, attention to the memory, MLP: (Tokens, Memory) -> Tokens."""

    def __init__(self, attention: nn.Module, cross: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.attention = attention
        self.cross = cross
        self.mlp = mlp

    def forward(self, queries: Tokens, memory: Memory) -> Tokens:
        return self.mlp(self.cross(self.attention(queries, memory), memory))


class QueryDecoder(nn.Module):
    """Decoder whose queries, initially zero, attend to the patch tokens: Tokens -> Tokens of the Q queries.

    Args:
        num_queries: number of queries Q, the largest number of detected objects.
        dim: width D.
        positions: Tokens -> Tokens, adds positions to the patches.
        blocks: (Tokens, Memory) -> Tokens.
        norm: norm after the blocks.
    """

    reads = PATCHES

    def __init__(
        self, num_queries: int, dim: int, positions: nn.Module, blocks: Iterable[nn.Module], norm: nn.Module
    ) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.places = nn.Parameter(torch.empty(num_queries, dim))
        nn.init.normal_(self.places)
        self.positions = positions
        self.blocks = Blocks(*blocks)
        self.norm = norm

    def forward(self, tokens: Tokens) -> Tokens:
        queries = self._after_blocks(tokens, self.places, (self.num_queries,))[-1]
        return queries.with_x(self.norm(queries.x))

    def forward_blocks(self, tokens: Tokens, others: Float[Tensor, "G Q D"] | None = None) -> tuple[Tokens, ...]:
        """Queries after each block and the norm, the last as in `forward`, for losses on all of them.

        Args:
            tokens: of the image.
            others: embeddings of further groups of queries, which follow the own ones, see `QuerySelfAttention`.
        """
        places: Tensor = self.places
        grid: tuple[int, ...] = (self.num_queries,)
        if others is not None:
            places = torch.cat([places, others.flatten(0, 1)])
            grid = (1 + len(others), self.num_queries)
        return tuple(queries.with_x(self.norm(queries.x)) for queries in self._after_blocks(tokens, places, grid))

    def _after_blocks(self, tokens: Tokens, places: Float[Tensor, "N D"], grid: tuple[int, ...]) -> list[Tokens]:
        patches = tokens.without_prefix()
        places = places.expand(patches.x.shape[0], -1, -1)
        memory = Memory(places, self.positions(patches), patches)
        queries = Tokens(torch.zeros_like(places), grid=grid)
        after = []
        for block in self.blocks:
            queries = self.blocks.run(block, queries, memory)
            after.append(queries)
        return after
