"""Attention along axes and by offsets, against the peers and against loops."""

import torch
from axial_attention import AxialAttention as Reference

from vitrail.nn import (
    AxialAttention,
    MultiHeadAttention,
    RelativePositionAttention,
    Tokens,
    offset_index,
    spread_offsets,
)


def test_axial_attention_is_that_of_the_package() -> None:
    """Columns, then rows, is their order; they have no biases in queries, keys and values."""
    theirs = Reference(dim=8, dim_index=-1, heads=2, num_dimensions=2, sum_axial_out=False).double()
    ours = [AxialAttention(8, 2, axis).double() for axis in (-2, -1)]
    for mine, other in zip(ours, theirs.axial_attentions, strict=True):
        mine.qkv.weight.data = torch.cat([other.fn.to_q.weight, other.fn.to_kv.weight]).data
        mine.qkv.bias.data.zero_()
        mine.project.load_state_dict(other.fn.to_out.state_dict())
    image = torch.randn(2, 5, 7, 8, dtype=torch.float64)
    tokens = Tokens(image.flatten(1, 2), (5, 7))
    out = ours[1](ours[0](tokens)).x.unflatten(1, (5, 7))
    assert (out - theirs(image)).abs().max() <= 1e-12


def test_relative_positions_are_added_pair_by_pair() -> None:
    grid, prefix = (3, 4), 2
    branch = RelativePositionAttention(8, 2, grid).double()
    table = branch.bias.relative.table.data.normal_()
    bias = torch.zeros(2, 14, 14, dtype=torch.float64)
    for q in range(12):
        for k in range(12):
            down, right = q // 4 - k // 4, q % 4 - k % 4
            bias[:, prefix + q, prefix + k] = table[(down + 2) * 7 + right + 3]
    plain = MultiHeadAttention(8, 2).double()
    plain.load_state_dict({name: tensor for name, tensor in branch.state_dict().items() if "bias.rel" not in name})
    tokens = Tokens(torch.randn(2, 14, 8, dtype=torch.float64), grid, prefix)
    assert (branch(tokens).x - plain(tokens, bias).x).abs().max() <= 1e-12


def test_offsets_are_spread_as_they_are_indexed() -> None:
    table = torch.randn(9 * 5, 4)
    index = offset_index((5, 3), (5, 3), torch.device("cpu"))
    assert torch.equal(spread_offsets(table, (5, 3)), table[index].permute(2, 0, 1))


def test_other_grids_get_the_table_resampled() -> None:
    branch = RelativePositionAttention(8, 2, (3, 4))
    assert branch(Tokens(torch.randn(1, 30, 8), (5, 6))).x.shape == (1, 30, 8)
    branch.bias.relative.table.data.fill_(0.5)
    assert torch.allclose(branch.bias(Tokens(torch.zeros(1, 30, 8), (5, 6))), torch.tensor(0.5))
