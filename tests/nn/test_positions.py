"""Every kind of position against its closed form, and how each gets to another grid."""

import math

import pytest
import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed
from torch import Tensor

from vitrail.nn import (
    AxisPositions,
    LearnedPositions,
    SinCosPositions,
    SinusoidalPositions,
    Tokens,
    resample_positions,
    sinusoidal_positions,
)


def blank(*grid: int, prefix: int = 1, dim: int = 8) -> Tokens:
    return Tokens(torch.zeros(2, prefix + math.prod(grid), dim), grid, prefix)


def test_learned_positions_stand_in_every_frame() -> None:
    positions = LearnedPositions((2, 3), 8, prefix=1)
    out = positions(blank(4, 2, 3))
    assert torch.equal(out.x[:, :1], positions.weight[:, :1].expand(2, -1, -1))
    for frame in range(4):
        assert torch.equal(out.map[:, :, frame].flatten(2).transpose(1, 2)[:1], positions.weight[:, 1:])


def test_rows_and_columns_add_up() -> None:
    rows, columns = AxisPositions(0, 3, 8), AxisPositions(1, 4, 8)
    out = columns(rows(blank(3, 4)))
    assert out.x[:, 0].abs().max() == 0
    for row in range(3):
        for column in range(4):
            expected = rows.weight[0, row] + columns.weight[0, column]
            assert torch.equal(out.map[0, :, row, column], expected)


def test_an_axis_of_a_video() -> None:
    frames = AxisPositions(0, 4, 8)
    out = frames(blank(4, 2, 3))
    for frame in range(4):
        assert torch.equal(out.map[0, :, frame], frames.weight[0, frame, :, None, None].expand(8, 2, 3))
    assert torch.equal(frames(blank(8, 2, 3)).map[0, :, :, 0, 0].T, frames.table((8,))[0])


@pytest.mark.parametrize("dim", [7, 8])
def test_sinusoids_entry_by_entry(dim: int) -> None:
    table = sinusoidal_positions(50, dim)
    for place in (0, 1, 13, 49):
        for channel in range(dim):
            angle = place / 10_000 ** (2 * (channel // 2) / dim)
            expected = math.cos(angle) if channel % 2 else math.sin(angle)
            assert table[0, place, channel].item() == pytest.approx(expected, abs=1e-7)


def test_sinusoids_are_of_the_grid_at_hand_or_of_one_that_is_kept() -> None:
    here = SinusoidalPositions(8)(blank(3, 4)).x
    assert torch.equal(here[0, 1:], sinusoidal_positions(12, 8)[0])
    assert here[:, 0].abs().max() == 0
    kept = SinusoidalPositions(8, grid=(2, 3, 3))(blank(4, 6, 5)).x
    assert torch.equal(kept[:1, 1:], resample_positions(sinusoidal_positions(18, 8), (2, 3, 3), (4, 6, 5)))


def test_sines_and_cosines_leave_the_prefix_alone() -> None:
    assert torch.equal(SinCosPositions(8)(blank(3, 4)).x[:, 1:], SinCosPositions(8)(blank(3, 4, prefix=0)).x)


@pytest.mark.parametrize("new", [(3, 9), (20, 7), (6, 4)])
@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize("antialias", [True, False])
def test_resampling_as_in_timm(new: tuple[int, int], mode: str, antialias: bool) -> None:
    table = torch.randn(1, 2 + 30, 8)
    ours = resample_positions(table, (6, 5), new, prefix=2, mode=mode, antialias=antialias)
    theirs = resample_abs_pos_embed(
        table, list(new), old_size=[6, 5], num_prefix_tokens=2, interpolation=mode, antialias=antialias
    )
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("antialias", [True, False])
def test_the_offset_of_dinov2(antialias: bool) -> None:
    """Its code: the scale is (new + 0.1) / old, which moves the places a little."""
    table = torch.randn(1, 25, 8)
    picture = table.reshape(1, 5, 5, 8).permute(0, 3, 1, 2)
    scale = ((7 + 0.1) / 5, (4 + 0.1) / 5)
    theirs = F.interpolate(picture, scale_factor=scale, mode="bicubic", antialias=antialias)
    assert theirs.shape[-2:] == (7, 4)
    ours = resample_positions(table, (5, 5), (7, 4), antialias=antialias, offset=0.1)
    assert torch.equal(ours, theirs.permute(0, 2, 3, 1).flatten(1, 2))
    plain = resample_positions(table, (5, 5), (7, 4), antialias=antialias)
    assert (ours - plain).abs().max() > 1e-3
    positions = LearnedPositions((5, 5), 8, antialias=antialias, offset=0.1)
    assert not torch.equal(positions.table((7, 4)), LearnedPositions.table(_without_offset(positions), (7, 4)))


def _without_offset(positions: LearnedPositions) -> LearnedPositions:
    plain = LearnedPositions(positions.grid, 8, antialias=positions.antialias)
    plain.load_state_dict(positions.state_dict())
    return plain


def video(table: Tensor, grid: tuple[int, ...]) -> Tensor:
    return table.transpose(1, 2).unflatten(2, grid)


@pytest.mark.parametrize("new", [(2, 3, 9), (7, 5, 4), (3, 4, 5), (1, 4, 5)])
def test_resampling_of_videos_is_trilinear_or_nearest(new: tuple[int, int, int]) -> None:
    old = (3, 4, 5)
    table = torch.randn(1, 60, 8)
    linear = resample_positions(table, old, new, mode="bilinear", antialias=False)
    expected = F.interpolate(video(table, old), size=new, mode="trilinear")
    assert torch.allclose(video(linear, new), expected, atol=1e-6)
    nearest = resample_positions(table, old, new, mode="nearest", antialias=False)
    assert torch.equal(video(nearest, new), F.interpolate(video(table, old), size=new, mode="nearest"))


def test_resampling_of_frames_alone_leaves_every_place_to_itself() -> None:
    table = torch.randn(1, 24, 8)
    ours = video(resample_positions(table, (4, 2, 3), (6, 2, 3)), (6, 2, 3))
    for row in range(2):
        for column in range(3):
            line = video(table, (4, 2, 3))[:, :, :, row, column]
            alone = resample_positions(line.transpose(1, 2), (4,), (6,))
            assert torch.allclose(ours[:, :, :, row, column].transpose(1, 2), alone, atol=1e-6)


def test_a_line_of_positions() -> None:
    table = torch.randn(1, 5, 8)
    ours = resample_positions(table, (5,), (9,), mode="bilinear", antialias=False)
    assert torch.allclose(ours.transpose(1, 2), F.interpolate(table.transpose(1, 2), size=9, mode="linear"), atol=1e-6)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("old", "new"), [((6, 1), (9, 1)), ((6, 4), (9, 1)), ((6, 4), (3, 1)), ((5, 4), (1, 1))])
def test_a_single_column_comes_out_as_a_single_row(antialias: bool, old: tuple[int, int], new: tuple[int, int]) -> None:
    """PyTorch 2.15 does not do that by itself."""
    table = torch.randn(1, math.prod(old), 8)
    lying = table.unflatten(1, old).transpose(1, 2).flatten(1, 2)
    ours = resample_positions(table, old, new, antialias=antialias)
    assert torch.allclose(ours, resample_positions(lying, old[::-1], new[::-1], antialias=antialias), atol=1e-6)


def test_grids_of_other_axes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) cannot be resampled to \(4,\)"):
        resample_positions(torch.randn(1, 6, 8), (2, 3), (4,))
