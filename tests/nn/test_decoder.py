"""Residuals with a context and a norm behind the sum, decoders, sine positions, maps."""

import math

import pytest
import torch
from torch import Tensor, nn

from vitrail.nn import (
    MLP,
    DecoderBlock,
    JointProjection,
    Levels,
    Memory,
    PerToken,
    PlacedProjection,
    QueryCrossAttention,
    QueryDecoder,
    QuerySelfAttention,
    Residual,
    SinePositions,
    Tokens,
    Upsampling,
    upsample,
)


class AddMean(nn.Module):
    """A branch that looks at its context."""

    def forward(self, tokens: Tokens, memory: Tensor) -> Tokens:
        return tokens.with_x(memory.mean(dim=1, keepdim=True).expand_as(tokens.x))


def residual(branch: nn.Module, dim: int) -> Residual:
    return Residual(nn.Identity(), branch, after=nn.LayerNorm(dim))


def test_post_norm_is_the_norm_of_the_sum() -> None:
    norm = nn.LayerNorm(8)
    nn.init.normal_(norm.weight)
    branch = PerToken(nn.Linear(8, 8))
    tokens = Tokens(torch.randn(2, 4, 8), grid=(2, 2))
    given = Residual(nn.Identity(), branch, after=norm)(tokens).x
    assert torch.allclose(given, norm(tokens.x + branch(tokens).x))


def test_drop_path_gives_every_sample_its_own_context() -> None:
    block = Residual(nn.Identity(), AddMean(), drop_path=0.5).train()
    memory = torch.arange(8.0).view(8, 1, 1).expand(8, 3, 2)
    out = block(Tokens(torch.zeros(8, 4, 2), grid=(2, 2)), memory).x
    kept = out[:, 0, 0] != 0
    assert kept.sum() in (3, 4)  # sample 0 has nothing to add
    assert torch.equal(out[kept], 2 * memory[kept][:, :1].expand(-1, 4, -1))


def test_a_decoder_asks_patches_only_and_knows_where_they_are() -> None:
    block = DecoderBlock(
        residual(QuerySelfAttention(8, 2), 8), residual(QueryCrossAttention(8, 2), 8), residual(MLP(8, 16), 8)
    )
    decoder = QueryDecoder(5, 8, SinePositions(8), [block], nn.LayerNorm(8)).double()
    x = torch.randn(2, 7, 8, dtype=torch.float64)
    queries = decoder(Tokens(x, grid=(2, 3), prefix=1))
    assert queries.x.shape == (2, 5, 8)
    other_class = torch.cat([torch.randn(2, 1, 8, dtype=torch.float64), x[:, 1:]], dim=1)
    assert torch.equal(queries.x, decoder(Tokens(other_class, grid=(2, 3), prefix=1)).x)
    moved = torch.cat([x[:, :1], x[:, 1:].flip(1)], dim=1)
    assert not torch.allclose(queries.x, decoder(Tokens(moved, grid=(2, 3), prefix=1)).x)


def test_memory_is_a_pytree() -> None:
    keys, values = (Tokens(torch.randn(4, 2, 8), grid=(1, 2)) for _ in range(2))
    memory = Memory(torch.randn(4, 2, 8), keys, values)
    leaves = torch.utils._pytree.tree_leaves(memory)
    assert [id(leaf) for leaf in leaves] == [id(memory.places), id(keys.x), id(values.x)]


def test_sine_positions_entry_by_entry() -> None:
    rows, columns, dim = 3, 5, 16
    table = SinePositions(dim)(Tokens(torch.zeros(1, rows * columns, dim).double(), grid=(rows, columns))).x[0]
    for row in range(rows):
        for column in range(columns):
            expected = []
            for place, length in ((row + 1, rows), (column + 1, columns)):
                for wave in range(dim // 4):
                    angle = place / (length + 1e-6) * 2 * math.pi / 10_000 ** (2 * wave / (dim // 2))
                    expected += [math.sin(angle), math.cos(angle)]
            assert torch.allclose(table[row * columns + column], torch.tensor(expected).double(), atol=1e-7)


def test_a_placed_projection_without_places_is_a_joint_one() -> None:
    joint, placed = JointProjection(8, 2), PlacedProjection(8, 2, nn.Identity())
    placed.load_state_dict(joint.state_dict())
    tokens = Tokens(torch.randn(2, 4, 8), grid=(2, 2))
    for mine, other in zip(placed(tokens), joint(tokens), strict=True):
        assert torch.allclose(mine, other, atol=1e-6)


def test_levels_that_are_not_there() -> None:
    with pytest.raises(ValueError, match="there are 2, counted from 0"):
        Levels([nn.Identity(), nn.Identity()], after=(1, 2))


def test_upsampling_doubles() -> None:
    tokens = Tokens(torch.randn(2, 7, 8), grid=(2, 3), prefix=1)
    image = Upsampling(8, 4, 2)(tokens)
    assert image.shape == (2, 4, 8, 12)
    larger = nn.functional.interpolate(image, scale_factor=(4.0, 3.5), mode="bilinear", align_corners=False)
    assert larger.shape == (2, 4, 32, 42)
    assert torch.equal(upsample((4.0, 3.5))(image), larger)
