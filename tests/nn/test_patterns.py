"""Patterns against their definitions, token by token, and the fast path of each against its dense mask."""

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

import vitrail
from vitrail.nn import Grid, LocalAttention, MaskOf, MultiHeadAttention, Pattern, SparseAttention, Tokens
from vitrail.nn.attention import pattern as patterns

CPU = torch.device("cpu")
GRIDS = [(7, 5), (8, 8), (13, 6), (2, 9), (1, 1)]
Sees = Callable[[Grid, tuple[int, ...], tuple[int, ...]], bool]
"""(grid, query's cell, key's cell) -> may it be seen: a definition, as a person would write it down."""


def in_neighbourhood(side: int, dilation: int) -> Sees:
    def line(length: int, query: int) -> set[int]:
        dilation_here = min(dilation, length)
        mates = [place for place in range(length) if place % dilation_here == query % dilation_here]
        least = min(range(max(1, len(mates) - side + 1)), key=lambda s: abs(s + side // 2 - mates.index(query)))
        return set(mates[least : least + side])

    return lambda grid, q, k: all(k[dim] in line(grid[dim], q[dim]) for dim in range(len(grid)))


def same_window(window: int, shift: int) -> Sees:
    return lambda grid, q, k: all((a - shift) // window == (b - shift) // window for a, b in zip(q, k, strict=True))


def number(grid: Grid, cell: tuple[int, ...]) -> int:
    return cell[0] * grid[1] + cell[1]


DEFINED: dict[str, tuple[Pattern, Sees]] = {
    "windows": (partial(patterns.windows, window=(3, 3)), same_window(3, 0)),
    "shifted windows": (partial(patterns.windows, window=(4, 4), shift=(2, 2)), same_window(4, 2)),
    "neighbourhood": (partial(patterns.neighbourhood, side=3), in_neighbourhood(3, 1)),
    "even neighbourhood": (partial(patterns.neighbourhood, side=4), in_neighbourhood(4, 1)),
    "dilated neighbourhood": (partial(patterns.neighbourhood, side=3, dilation=2), in_neighbourhood(3, 2)),
    "lattice": (
        partial(patterns.lattice, stride=3),
        lambda grid, q, k: all((a - b) % min(3, n) == 0 for a, b, n in zip(q, k, grid, strict=True)),
    ),
    "rows": (partial(patterns.along, axis=-1), lambda grid, q, k: q[0] == k[0]),
    "columns": (partial(patterns.along, axis=0), lambda grid, q, k: q[1] == k[1]),
    "band": (partial(patterns.band, reach=4), lambda grid, q, k: abs(number(grid, q) - number(grid, k)) <= 4),
    "strided": (partial(patterns.strided, stride=6), lambda grid, q, k: (number(grid, q) - number(grid, k)) % 6 == 0),
}
BIG_BIRD = {"big bird": partial(patterns.big_bird, block=4), "blocks": partial(patterns.big_bird, block=3, leading=0)}
ALL: dict[str, Pattern] = {name: pattern for name, (pattern, _) in DEFINED.items()} | BIG_BIRD


def mask(pattern: Pattern, grid: Grid) -> torch.Tensor:
    return pattern(grid, CPU).mask(grid[0] * grid[1])


@pytest.mark.parametrize("name", DEFINED)
@pytest.mark.parametrize("grid", GRIDS)
def test_who_sees_whom_is_as_defined(name: str, grid: Grid) -> None:
    pattern, sees = DEFINED[name]
    cells = list(itertools.product(*map(range, grid)))
    expected = torch.tensor([[sees(grid, q, k) for k in cells] for q in cells])
    assert torch.equal(mask(pattern, grid), expected)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("prefix", [0, 2])
def test_the_fast_path_is_attention_under_the_dense_mask(name: str, grid: Grid, prefix: int) -> None:
    fast = SparseAttention(8, 2, ALL[name])
    reference = MultiHeadAttention(8, 2, bias=MaskOf(ALL[name]))
    reference.load_state_dict(fast.state_dict())
    tokens = Tokens(torch.randn(3, prefix + grid[0] * grid[1], 8), grid, prefix)
    with torch.no_grad():  # the fused kernel; with gradients it is the explicit product
        assert (fast(tokens).x - reference(tokens).x).abs().max() <= 1e-6
    x = tokens.x.clone().requires_grad_()
    ours, theirs = fast(tokens.with_x(x)).x, reference(tokens.with_x(x)).x
    assert (ours - theirs).abs().max() <= 1e-6
    signal = torch.randn_like(ours)
    for a, b in zip(*(torch.autograd.grad(out, x, signal) for out in (ours, theirs)), strict=True):
        assert (a - b).abs().max() <= 1e-5
    exact = tokens.with_x(tokens.x.double())
    assert (fast.double()(exact).x - reference.double()(exact).x).abs().max() <= 1e-12


@pytest.mark.parametrize("grid", [(6, 9, 4), (5,)])
def test_any_number_of_axes(grid: Grid) -> None:
    pattern = partial(patterns.neighbourhood, side=3)
    seen = pattern(grid, CPU).mask(torch.Size(grid).numel())
    assert (seen.sum(dim=1) == 3 ** len(grid)).all()
    lines = patterns.along(grid, CPU, axis=0).mask(torch.Size(grid).numel())
    assert (lines.sum(dim=1) == grid[0]).all()


@pytest.mark.parametrize("shift", [(0, 0), (2, 1)])
def test_windows_are_those_of_local_attention_where_nothing_is_filled_up(shift: Grid) -> None:
    window, grid = (4, 3), (8, 9)
    inner = MultiHeadAttention(8, 2).double()
    local = LocalAttention(inner, window, shift)
    sparse = SparseAttention(8, 2, partial(patterns.windows, window=window, shift=shift)).double()
    dense = MultiHeadAttention(8, 2, bias=MaskOf(sparse.bias.pattern)).double()
    for other in (sparse, dense):
        other.load_state_dict(inner.state_dict())
    tokens = Tokens(torch.randn(2, 72, 8, dtype=torch.float64), grid)
    assert (local(tokens).x - dense(tokens).x).abs().max() <= 1e-12
    assert (sparse(tokens).x - dense(tokens).x).abs().max() <= 1e-12


def test_a_neighbourhood_larger_than_the_grid_is_all_of_it() -> None:
    assert mask(partial(patterns.neighbourhood, side=9), (4, 5)).all()


def test_big_bird_sees_near_leading_and_as_many_random_blocks() -> None:
    seen = mask(partial(patterns.big_bird, block=4, near=3, leading=1, random=2), (12, 8))
    blocks = seen[::4, ::4]
    assert torch.equal(seen, blocks.repeat_interleave(4, 0).repeat_interleave(4, 1))
    assert blocks[0].all()
    assert blocks[:, 0].all()
    index = torch.arange(24)
    near = (index[:, None] - index).abs() <= 1
    assert blocks[near].all()
    far = blocks & ~near
    far[0] = far[:, 0] = False
    assert (far.sum(dim=1)[1:] == 2).all()


def test_random_blocks_are_a_function_of_the_seed_and_go_everywhere() -> None:
    def drawn(seed: int) -> torch.Tensor:
        return mask(partial(patterns.big_bird, block=1, near=1, leading=0, random=3, seed=seed), (16, 16))

    assert torch.equal(drawn(3), drawn(3))
    shared = (drawn(3) & drawn(4)).sum() - 256
    assert shared <= 30  # by chance 256 · 3 · 3 / 255 = 9 of 768
    times = sum(drawn(seed).long() for seed in range(20)).sum(dim=0) - 20
    assert abs(float(times.float().mean()) - 60) < 1e-4
    assert float(times.float().std()) < 3 * 60**0.5 / 2  # Poisson: the deviation is the root of the mean


def test_packed_sequences_do_not_see_each_other() -> None:
    seen = mask(partial(patterns.packed, lengths=(5, 1, 6)), (3, 4))
    assert torch.equal(seen, torch.block_diag(torch.ones(5, 5), torch.ones(1, 1), torch.ones(6, 6)) > 0)
    with pytest.raises(ValueError, match="sequences of 7 tokens do not fill a grid of 12"):
        patterns.packed((3, 4), CPU, lengths=(5, 2))


@pytest.mark.parametrize("name", ["neighbourhood", "big bird"])
def test_the_lens_shows_whole_pictures(name: str) -> None:
    branch = SparseAttention(8, 2, ALL[name])
    tokens = Tokens(torch.randn(2, 1 + 63, 8), (7, 9), 1)
    with vitrail.observe_attention(branch) as seen, torch.no_grad():
        branch(tokens)
    weights = seen[0]
    assert weights.shape == (2, 2, 64, 64)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 2, 64))
    assert torch.equal(weights[0, 0, 1:, 1:] > 0, mask(ALL[name], (7, 9)))
    with vitrail.observe_attention(branch, rows=[0, 5], heads=1) as some, torch.no_grad():
        branch(tokens)
    assert torch.allclose(some[0], weights[:, 1:, [0, 5]])


def test_cost_grows_with_the_length_not_with_its_square() -> None:
    def keys(side: int) -> int:
        return patterns.neighbourhood((side, side), CPU, side=7).keys.numel()

    assert keys(56) == 4 * keys(28)


PICTURES: dict[str, Pattern] = {
    "windows, window (4, 4)": partial(patterns.windows, window=(4, 4)),
    "windows, shift (2, 2)": partial(patterns.windows, window=(4, 4), shift=(2, 2)),
    "neighbourhood, side 5": partial(patterns.neighbourhood, side=5),
    "neighbourhood, side 3, dilation 2": partial(patterns.neighbourhood, side=3, dilation=2),
    "lattice, stride 3": partial(patterns.lattice, stride=3),
    "along, axis -1": partial(patterns.along, axis=-1),
    "along, axis -2": partial(patterns.along, axis=-2),
    "band, reach 12": partial(patterns.band, reach=12),
    "strided, stride 5": partial(patterns.strided, stride=5),
    "big_bird, block 6": partial(patterns.big_bird, block=6),
}


def test_the_page_shows_what_the_patterns_show() -> None:
    """Two pictures side by side of an 8×12 grid each, the query in the fourth row and fifth column."""
    page = (Path(__file__).parents[2] / "docs/attention.md").read_text()
    query = 3 * 12 + 4
    for names in zip(*[iter(PICTURES)] * 2, strict=True):
        rows = ["   ".join(name.ljust(23) for name in names).rstrip()]
        cells = [["●" if seen else "·" for seen in mask(PICTURES[name], (8, 12))[query]] for name in names]
        for shown in cells:
            shown[query] = "◆"
        rows += ["   ".join(" ".join(shown[12 * row : 12 * row + 12]) for shown in cells) for row in range(8)]
        assert "\n".join(rows) in page
