"""Pictures and maps, against values written out by hand."""

import io

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image

from vitrail.lens.draw import LEAD, overlay, visualize_patches, visualize_tokens
from vitrail.pages.image import colours, displayable, encode, encode_map, enlarge


def test_any_number_of_channels_can_be_shown() -> None:
    image = torch.arange(5 * 2 * 2, dtype=torch.uint8).reshape(5, 2, 2)
    assert torch.equal(displayable(image), image[:3])
    assert torch.equal(displayable(image[:1]), image[:1].expand(3, -1, -1))
    assert displayable(image[:2])[:, 0, 0].tolist() == [2, 2, 2]
    unit = torch.tensor([0.0, 0.5, 1.0, 0.25]).reshape(1, 2, 2)
    assert displayable(unit)[0].flatten().tolist() == [0, 128, 255, 64]
    assert displayable(unit * 400 - 200)[0].flatten().tolist() == [0, 128, 255, 64]


def test_colours_run_from_zero_to_the_highest() -> None:
    values = torch.tensor([[0.0, 0.1], [0.2, 0.4]])
    expected = colormaps["magma"](values.numpy() / 0.4, bytes=True)[..., :3]
    assert np.array_equal(colours(values).permute(1, 2, 0).numpy(), expected)
    assert colours(torch.zeros(2, 2)).flatten(1).unique(dim=1).shape == (3, 1)


def test_a_pane_covers_exactly_its_patch() -> None:
    picture = torch.full((3, 300, 600), 100, dtype=torch.uint8)
    values = torch.tensor([[0.0, 1.0, 0.5], [0.25, 0.0, 0.0]])
    drawn = overlay(picture, values, alpha=0.5)
    for row in range(2):
        for column in range(3):
            pane = drawn[:, row * 150 + 2 : (row + 1) * 150 - 2, column * 200 + 2 : (column + 1) * 200 - 2]
            expected = (50 + colours(values)[:, row, column].float() / 2).round()
            assert torch.equal(pane.float(), expected[:, None, None].expand_as(pane))
    smooth = overlay(picture, values, smooth=True)
    assert smooth.shape == picture.shape


@pytest.mark.parametrize(("size", "grid"), [((8, 8), (4, 4)), ((30, 20), (3, 4)), ((700, 300), (7, 5))])
def test_lines_stand_where_patches_meet(size: tuple[int, int], grid: tuple[int, int]) -> None:
    drawn = visualize_patches(torch.full((1, *size), 255, dtype=torch.uint8), grid)
    assert min(drawn.shape[1:]) >= 256
    for values, count in ((drawn[0, :, 2], grid[0]), (drawn[0, 2], grid[1])):
        starts = ((values[1:] < 255) & (values[:-1] == 255)).sum()
        assert starts == count - 1


def test_small_pictures_are_enlarged_by_whole_pixels() -> None:
    image = torch.randint(0, 256, (3, 8, 10), dtype=torch.uint8)
    large = enlarge(image)
    assert large.shape == (3, 256, 320)
    assert torch.equal(large[:, ::32, ::32], image)
    assert enlarge(torch.zeros(3, 300, 900, dtype=torch.uint8)).shape == (3, 300, 900)


def test_encoded_pictures_decode_to_what_they_were() -> None:
    image = torch.randint(0, 256, (3, 8, 10), dtype=torch.uint8)
    media, content = encode(image)
    assert media == "image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), image.permute(1, 2, 0).numpy())
    assert encode(torch.zeros(3, 200, 200, dtype=torch.uint8))[0] == "image/jpeg"
    heat = colours(torch.rand(14, 14))
    decoded = np.asarray(Image.open(io.BytesIO(encode_map(heat)[1])).convert("RGB")).astype(int)
    assert np.abs(decoded - heat.permute(1, 2, 0).numpy()).max() <= 24


def test_tokens_are_drawn_on_their_cells() -> None:
    """Cells of 128 px: one token alone, one of two cells that are apart, one removed."""
    picture = torch.zeros(3, 256, 256, dtype=torch.uint8)
    colours_of = torch.tensor([[10, 100], [200, 50]])
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        picture[:, 128 * row : 128 * row + 128, 128 * column : 128 * column + 128] = colours_of[row, column]
    drawn = visualize_tokens(picture, torch.tensor([[0, 1], [1, -1]]))
    inside = [drawn[:, r : r + 120, c : c + 120].flatten().unique().tolist() for r in (4, 132) for c in (4, 132)]
    assert inside == [[10], [150], [150], [10]]  # the mean of 100 and 200, and a fifth of 50
    assert drawn[0, 127, 60] == drawn[0, 60, 127] == drawn[0, 127, 200] == LEAD
    alone = visualize_tokens(picture, torch.tensor([[1, 0], [0, 0]]))
    assert alone[0, 127, 200] == 117  # no line inside a token: (100 + 200 + 50) / 3
