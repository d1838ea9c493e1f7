"""Packed weights come back within the bound, in few bytes."""

import zlib

import pytest
import torch

from vitrail.errors import VitrailError
from vitrail.lens.explorer.pack import LEVELS, base64_of, error_bound, pack_layer, pack_layers, unpack_layer
from vitrail.lens.explorer.rows import LayerRows, Side, Unseen


def rows(heads: int = 3, grid: tuple[int, int] = (7, 7), prefix: int = 2, sharpness: float = 2.0) -> LayerRows:
    side = Side(grid, prefix)
    return LayerRows((sharpness * torch.randn(heads, side.count, side.count)).softmax(-1), side, side)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("sharpness", [0.01, 2.0, 12.0])
def test_every_weight_is_within_the_bound(levels: int, sharpness: float) -> None:
    given = rows(sharpness=sharpness)
    found = unpack_layer(pack_layer("a", given, levels))
    error = (found - given.weights).abs()
    brightest = given.weights[..., 2:].amax(-1, keepdim=True)
    assert (error[..., 2:] <= error_bound(levels) * brightest + 1e-7).all()
    assert error[..., :2].max() <= 1 / 32767


def test_a_class_token_that_takes_nearly_all_leaves_the_patches_their_steps() -> None:
    given = rows(prefix=1)
    weights = given.weights * 1e-4
    weights[..., 0] = 1 - 1e-4
    found = unpack_layer(pack_layer("a", LayerRows(weights, given.queries, given.keys)))
    torch.testing.assert_close(found[..., 1:] / 1e-4, given.weights[..., 1:], atol=5e-3, rtol=0)


def test_signed_weights_and_those_above_one() -> None:
    side = Side((3, 3), 1)
    given = LayerRows(3 * torch.randn(2, 10, 10), side, side)
    found = unpack_layer(pack_layer("talking heads", given))
    top = given.weights[..., 1:].abs().amax(-1, keepdim=True)
    assert ((found - given.weights)[..., 1:].abs() <= top / 100).all()


def test_zeros_and_a_row_of_nothing_stay() -> None:
    side = Side((2, 2), 0)
    weights = torch.zeros(1, 4, 4)
    weights[0, 1, 2] = 1
    assert torch.equal(unpack_layer(pack_layer("a", LayerRows(weights, side, side))), weights)


def test_windows_share_their_cells() -> None:
    cells = torch.tensor([[0, 1], [0, 1], [2, -1], [2, -1]])
    packed = pack_layer("a", LayerRows(torch.rand(2, 4, 2), Side((2, 2), 0), Side((2, 2), 0), cells))
    assert packed.meta["groups"] == 2
    assert unpack_layer(packed).shape == (2, 4, 2)


def test_coarser_where_the_bytes_do_not_suffice() -> None:
    layers = (("a", rows(sharpness=0.3)), ("b", Unseen("no grid")))
    size = lambda packed: sum(len(base64_of(layer.content)) for layer in packed)  # noqa: E731
    finest = pack_layers(layers)
    smaller = pack_layers(layers, most=int(0.8 * size(finest)))
    assert size(smaller) <= 0.8 * size(finest)
    assert smaller[0].meta["steps"] < finest[0].meta["steps"] == 255
    assert finest[1].meta == {"name": "b", "unseen": "no grid"}
    assert finest[1].content == b""


def test_all_maps_of_a_base_model_fit_into_a_page() -> None:
    """12 heads over 197 tokens, hardly uneven, which compresses worst: a twelfth of 4.5 MB as base64."""
    from vitrail.lens.explorer.page import MOST_BYTES

    layer = rows(heads=12, grid=(14, 14), prefix=1, sharpness=0.5)
    (packed,) = pack_layers((("a", layer),), most=MOST_BYTES // 12)
    assert len(base64_of(packed.content)) <= MOST_BYTES // 12
    assert packed.meta["steps"] >= 31
    assert len(zlib.decompress(packed.content)) == 12 * 197 * (196 + 2 + 2)


def test_a_page_shares_its_room_and_refuses_too_many_views() -> None:
    from vitrail.lens.explorer.page import ALL_BYTES, MOST_BYTES, most_bytes

    assert most_bytes(1) == MOST_BYTES
    assert most_bytes(30) == ALL_BYTES // 30
    with pytest.raises(VitrailError, match=r"1,000 views.*--limit"):
        most_bytes(1000)
