"""Pruning, fusing and merging of tokens, held against the papers' rules written again as plain loops, in float64."""

import math

import pytest
import torch
from torch import Tensor

import vitrail
from vitrail.nn import (
    NO_TOKEN,
    AnyGridBias,
    Attend,
    AttentionReceived,
    FuseLowest,
    GridRotaryPositions,
    LearnedRotaryPositions,
    MeanPool,
    MeasuringAttention,
    MergeSimilar,
    MultiHeadAttention,
    PruneLowest,
    RelativeBias,
    RelativeBiasWithClass,
    RotaryPositions,
    SizeBias,
    Tokens,
    explicit_kernel,
    fused_kernel,
    mean_keys,
    set_attention_kernel,
)

COVER = torch.tensor([[[0, 1, NO_TOKEN], [2, 0, 1]], [[3, 3, 3], [0, 1, 2]]])
"""Two images of 2 × 3 cells, of 3 and 4 tokens."""


def tokens(prefix: int, grid: tuple[int, int] = (3, 5), dim: int = 6, batch: int = 2) -> Tokens:
    return Tokens(torch.randn(batch, prefix + grid[0] * grid[1], dim, dtype=torch.float64), grid, prefix)


def merged_by_loops(x: Tensor, keys: Tensor, cells: list[list[int]], r: int, prefix: int) -> tuple[Tensor, list]:
    """ToMe of one image, token by token: prefix tokens and patches (N, D), keys of the patches, cells of each patch."""
    patches = x[prefix:]
    from_a = [n for n in range(len(patches)) if (prefix + n) % 2 == 0]
    into_b = [n for n in range(len(patches)) if (prefix + n) % 2 == 1]

    def cosine(a: int, b: int) -> float:
        return float(keys[a] @ keys[b] / keys[a].norm() / keys[b].norm())

    best = {a: max(into_b, key=lambda b, a=a: cosine(a, b)) for a in from_a}
    ranked = sorted(from_a, key=lambda a: -cosine(a, best[a]))
    gone = ranked[: min(r, len(patches) // 2)]
    found, covered = [*x[:prefix]], []
    for a in from_a:
        if a not in gone:
            found.append(patches[a])
            covered.append(cells[a])
    for b in into_b:
        group = [b, *(a for a in gone if best[a] == b)]
        weights = [len(cells[n]) for n in group]
        found.append(sum(w * patches[n] for w, n in zip(weights, group, strict=True)) / sum(weights))
        covered.append(sorted(cell for n in group for cell in cells[n]))
    return torch.stack(found), covered


def cells_of(found: Tokens, image: int) -> list[list[int]]:
    assert found.cover is not None
    flat = found.cover[image].flatten().tolist()
    return [[cell for cell, token in enumerate(flat) if token == n] for n in range(found.patches.shape[1])]


@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
@pytest.mark.parametrize("r", [1, 4, 7, 40])
def test_merging_twice_is_that_of_the_paper(prefix: int, r: int) -> None:
    first, keys = tokens(prefix), torch.randn(2, 15, 4, dtype=torch.float64)
    once = MergeSimilar(r)(first, keys)
    left = 15 - min(r, 7)
    assert once.patches.shape[1] == left
    again = torch.randn(2, left, 4, dtype=torch.float64)
    twice = MergeSimilar(r)(once, again)
    for image in range(2):
        x, cells = merged_by_loops(first.x[image], keys[image], [[n] for n in range(15)], r, prefix)
        torch.testing.assert_close(once.x[image], x, rtol=0, atol=1e-12)
        assert cells_of(once, image) == cells
        x, cells = merged_by_loops(x, again[image], cells, r, prefix)
        torch.testing.assert_close(twice.x[image], x, rtol=0, atol=1e-12)
        assert cells_of(twice, image) == cells
    order = torch.randperm(twice.patches.shape[1]).expand(2, -1)
    for found in (once, twice, twice.with_x(twice.x + 1), twice.without_prefix(), twice.keep(order[:, :2])):
        assert found.counted is not None
        assert torch.equal(found.counted, found.size)
        assert torch.equal(found.of_images(torch.tensor([1])).counted, found.counted[1:])
    assert twice.only_prefix(0).counted is None
    assert twice.with_grid((1, 4)).counted is None
    assert torch.equal(FuseLowest(0.5)(twice, twice.x[:, prefix:, 0]).weights.sum(1), torch.full((2,), 15.0).double())


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of older versions of PyTorch, about itself
def test_a_graph_has_the_numbers_of_cells_and_not_the_cells() -> None:
    class Twice(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            once = MergeSimilar(2)(Tokens(x, (2, 4)), x)
            return MergeSimilar(2)(once, once.x).mean

    graph = torch.export.export(Twice(), (torch.randn(2, 8, 3),)).run_decompositions()
    written = [node for node in graph.graph.nodes if "scatter" in str(node.target)]
    assert len(written) == 4  # of two merges, each of the sums and of the numbers of cells


@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_fusing_is_that_of_the_paper(prefix: int) -> None:
    given, scores = tokens(prefix), torch.rand(2, 15, dtype=torch.float64)
    found = FuseLowest(0.5)(given, scores)
    for image in range(2):
        ranked = sorted(range(15), key=lambda n: -float(scores[image, n]))
        kept, rest = sorted(ranked[:8]), ranked[8:]
        patches = given.patches[image]
        fused = sum(scores[image, n] * patches[n] for n in rest)
        expected = torch.stack([*given.x[image, :prefix], *patches[kept], fused])
        torch.testing.assert_close(found.x[image], expected, rtol=0, atol=1e-12)
        assert cells_of(found, image) == [*([n] for n in kept), sorted(rest)]


def test_pruning_keeps_the_highest_in_order() -> None:
    given = tokens(1)
    scores = torch.tensor([[*range(15)], [*range(14, -1, -1)]], dtype=torch.float64)
    found = PruneLowest(0.2)(given, scores)
    assert found.index.tolist() == [[12, 13, 14], [0, 1, 2]]
    assert PruneLowest(0.2)(found, scores[:, :3]).index.tolist() == [[14], [0]]
    for change in (PruneLowest(1.0), FuseLowest(1.0)):
        assert change(given, scores) is given
    assert MergeSimilar(0)(given, scores[:, :, None]) is given


@pytest.mark.parametrize("kernel", [fused_kernel, explicit_kernel])
def test_proportional_attention_counts_a_merged_token_for_each_of_its_cells(kernel) -> None:
    torch.manual_seed(0)
    attention = MultiHeadAttention(8, 2).double()
    set_attention_kernel(attention, kernel)
    cover = torch.tensor([[[0, 1, 1], [2, 1, 0]], [[0, 0, 0], [0, 1, 2]]])
    given = Tokens(torch.randn(2, 4, 8, dtype=torch.float64), (2, 3), 1, cover=cover)
    out, keys = MeasuringAttention(attention, mean_keys)(given, SizeBias()(given))
    for image in range(2):
        # Every token as often as it has cells: the rows of the first of each are those of the merged tokens.
        flat = cover[image].flatten().tolist()
        repeated = given.x[image][[0, *(1 + n for n in flat)]]
        whole = attention(Tokens(repeated[None], (2, 3), 1)).x[0]
        rows = [0, *(1 + flat.index(n) for n in range(3))]
        torch.testing.assert_close(out.x[image], whole[rows], rtol=0, atol=1e-12)
    k = attention.qkv(given)[1]
    torch.testing.assert_close(keys, (k[:, 0] + k[:, 1])[:, 1:] / 2)
    assert SizeBias()(tokens(1)) is None


@pytest.mark.parametrize("rows", [(0,), (0, 1), ()])
@pytest.mark.parametrize("biased", ["none", "keys", "all"])
def test_scores_are_rows_of_the_whole_matrix(rows: tuple[int, ...], biased: str) -> None:
    q, k = torch.randn(2, 2, 3, 9, 4, dtype=torch.float64).unbind(0)
    shapes = {"none": None, "keys": (2, 1, 1, 9), "all": (3, 9, 9)}
    bias = None if shapes[biased] is None else torch.randn(*shapes[biased], dtype=torch.float64)
    found = AttentionReceived(rows)(Attend(), q, k, bias, 2)
    scores = q @ k.transpose(2, 3) / math.sqrt(4) + (0 if bias is None else bias)
    chosen = scores[:, :, list(rows)] if rows else scores[:, :, 2:].mean(dim=2, keepdim=True)
    torch.testing.assert_close(found, chosen.softmax(-1).mean(dim=(1, 2))[:, 2:])


def test_means_over_cells_and_centres_by_hand() -> None:
    given = Tokens(torch.randn(2, 5, 4, dtype=torch.float64), (2, 3), 1, cover=COVER)
    values = torch.randn(1, 6, 2, dtype=torch.float64)
    found = given.over_cells(values)
    torch.testing.assert_close(found[0, 0, 0], (values[0, 0] + values[0, 4]) / 2)
    torch.testing.assert_close(found[1, 0, 3], values[0, :3].mean(0))
    torch.testing.assert_close(found[1, 0, 1], values[0, 4])
    assert given.centre is not None
    assert given.centre[0, 2] == 3  # its only cell
    assert given.centre[1].tolist() == [3, 4, 5, 1]
    part = given.of_images(torch.tensor([1]))
    counted = (part.patches * torch.tensor([1, 1, 1, 3.0], dtype=torch.float64)[:, None]).sum(1) / 6
    torch.testing.assert_close(MeanPool()(part), counted)
    plain = tokens(1)
    assert plain.centre is None
    assert plain.over_cells(values) is values
    assert torch.equal(plain.mean, plain.patches.mean(dim=1))


ROTARY = [
    RotaryPositions(8),
    GridRotaryPositions(8, reference=(4, 4)),
    GridRotaryPositions(8, columns_first=True),
    LearnedRotaryPositions(2, 8),
]


@pytest.mark.parametrize("rotary", ROTARY)
def test_rotary_positions_follow_the_cells(rotary: torch.nn.Module) -> None:
    q, k = torch.randn(2, 2, 2, 11, 8, dtype=torch.float64).unbind(0)
    whole = Tokens(torch.randn(2, 11, 4, dtype=torch.float64), (2, 5), 1)
    kept = torch.tensor([[7, 2, 9], [0, 4, 5]])
    at = torch.cat([torch.zeros(2, 1, dtype=torch.long), kept + 1], dim=1)[:, None, :, None].expand(-1, 2, -1, 8)
    for found, all_of_them in zip(
        rotary(q.gather(2, at), k.gather(2, at), whole.keep(kept)), rotary(q, k, whole), strict=True
    ):
        assert torch.equal(found, all_of_them.gather(2, at))
    # Cells 0 and 4 of the first row together are at its middle, cell 2.
    cover = torch.tensor([0, 1, 2, 3, 0, *range(4, 9)]).view(1, 2, 5)
    merged = Tokens(torch.randn(1, 9, 4, dtype=torch.float64), (2, 5), cover=cover)
    plain = Tokens(torch.randn(1, 10, 4, dtype=torch.float64), (2, 5))
    row = torch.randn(1, 2, 1, 8, dtype=torch.float64)
    found = rotary(row.expand(-1, -1, 9, -1), row.expand(-1, -1, 9, -1), merged)[0][:, :, 0]
    expected = rotary(row.expand(-1, -1, 10, -1), row.expand(-1, -1, 10, -1), plain)[0][:, :, 2]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bias", [RelativeBiasWithClass((2, 5), 3), AnyGridBias(RelativeBias((2, 5), 3))])
def test_relative_positions_follow_the_cells(bias: torch.nn.Module) -> None:
    torch.nn.init.normal_(next(bias.parameters()))
    whole = Tokens(torch.randn(2, 11, 4), (2, 5), 1)
    kept = torch.tensor([[7, 2, 9], [0, 4, 5]])
    found, full = bias(whole.keep(kept)), bias(whole)
    assert found.shape == (2, 3, 4, 4)
    for image in range(2):
        at = torch.tensor([0, *(kept[image] + 1)])
        assert torch.equal(found[image], full[:, at][:, :, at])


def test_the_public_function() -> None:
    given = tokens(1)
    found = vitrail.adaptive_token_pruning(given, 0.4)
    scores = (given.patches @ given.x[:, :1].transpose(1, 2)).squeeze(2)
    assert found.index.tolist() == scores.topk(6).indices.sort().values.tolist()
    assert torch.equal(vitrail.adaptive_token_pruning(given.x, 0.4), found.x)
    assert torch.equal(vitrail.adaptive_token_pruning(given, 0.4, -scores).index, scores.argsort()[:, :6].sort().values)
    mean = tokens(0)
    by_mean = (mean.patches @ mean.x.mean(1, keepdim=True).transpose(1, 2)).squeeze(2)
    assert torch.equal(vitrail.adaptive_token_pruning(mean, 0.01).index, by_mean.argmax(1, keepdim=True))
    assert vitrail.adaptive_token_pruning(given, 1.0) is given
    assert torch.equal(vitrail.adaptive_token_pruning(given.x, 1.0), given.x)
    for ratio in (0.0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="keep_ratio"):
            vitrail.adaptive_token_pruning(given, ratio)
    with pytest.raises(ValueError, match="is not \\(B, 1 \\+ P, D\\)"):
        vitrail.adaptive_token_pruning(given.x[:, :1], 0.5)
