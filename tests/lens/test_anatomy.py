"""The anatomy of a model: what is measured, and the page."""

import re

import pytest
import torch

from vitrail.errors import VitrailError
from vitrail.lens.anatomy import anatomy, spread
from vitrail.lens.anatomy_page import anatomy_page
from vitrail.lens.draw import LEAD, visualize_features, visualize_positions
from vitrail.lens.measures import attention_distance, effective_receptive_field, feature_pca, position_similarity
from vitrail.lens.observe import observe_attention, observe_features
from vitrail.pages.charts import dot_chart
from vitrail.pages.image import colours

from .attribution.plain import build, pictures, vit

SWIN = {"image_size": 56, "depths": (1, 1), "num_heads": (2, 2), "embed_dim": 16}


def test_what_is_measured_is_what_the_measures_say() -> None:
    model, pixels = vit(), pictures(3)
    found = anatomy(model, pixels, blocks=2)
    assert list(found.distances) == [f"encoder.blocks.{layer}.attention.branch.attend" for layer in range(3)]
    assert list(found.components) == list(found.fields) == ["encoder.blocks.0", "encoder.blocks.2"]
    with observe_attention(model) as seen, observe_features(model, "blocks.2") as blocks, torch.no_grad():
        model(pixels)
    for layer, distances in enumerate(found.distances.values()):
        expected = attention_distance(seen[layer], seen.layout(layer), patch_size=8).mean(dim=0)
        torch.testing.assert_close(distances, expected)
    torch.testing.assert_close(found.components["encoder.blocks.2"], feature_pca(blocks["blocks.2"].map.float()))
    torch.testing.assert_close(found.fields["encoder.blocks.0"], effective_receptive_field(model, pixels, "blocks.0"))
    assert found.positions is not None
    assert torch.equal(found.positions, position_similarity(model))
    assert found.notes == ()


def test_what_a_model_has_not_is_said() -> None:
    swin = anatomy(build("swin_tiny_patch4_window7_224", **SWIN), pictures(1, 56))
    assert len(swin.distances) == 2
    assert swin.positions is None
    assert "no learned position" in swin.notes[0]
    convolutional = anatomy(build("convnext_atto", image_size=64), pictures(1, 64), blocks=1)
    assert not convolutional.distances
    assert "no attention" in convolutional.notes[0]
    assert len(convolutional.fields) == 1
    with pytest.raises(VitrailError, match="no encoder of blocks"):
        anatomy(torch.nn.Linear(2, 2), pictures())


def test_blocks_are_evenly_apart() -> None:
    names = [str(number) for number in range(12)]
    assert spread(names, 4) == ["0", "4", "7", "11"]
    assert spread(names[:3], 6) == ["0", "1", "2"]
    assert spread(names, 1) == ["11"]
    with pytest.raises(VitrailError, match="0 blocks are too few"):
        spread(names, 0)


def test_the_page_shows_every_picture_and_block_and_is_whole() -> None:
    model, pixels = vit(), pictures(2)
    shown = [(f"<b>{number}.jpg", torch.zeros(3, 32, 32, dtype=torch.uint8)) for number in range(2)]
    page = anatomy_page("mine", anatomy(model, pixels, blocks=3), shown, ["left out c.jpg: it is empty"])
    assert page.count("<img") == 2 * 4 + 3 + 1
    assert all('alt="' in image for image in re.findall("<img[^>]*>", page))
    assert "<b>0.jpg" not in page
    assert "left out c.jpg" in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_a_dot_for_each_head() -> None:
    drawn = dot_chart({"a": [1.0, 2.0], "b": [4.0, 3.0]}, label="far", x_label="layer")
    assert drawn.count("<circle") == 4
    assert 'aria-label="far: first 1 to 2; last 3 to 4"' in drawn
    assert [place for place in ("0", "0.2", "0.5", "1") if f'"middle">{place}</text>' in drawn] == ["0", "1"]
    assert dot_chart({}, label="far", x_label="layer") == ""


def test_positions_are_tiles_and_components_colours() -> None:
    similarity = torch.rand(2, 3, 2, 3)
    drawn = visualize_positions(similarity)
    scale = drawn.shape[1] // (2 * 3 - 1)
    small = drawn[:, ::scale, ::scale]
    assert small.shape == (3, 2 * 3 - 1, 3 * 4 - 1)
    assert (small[:, 2] == LEAD).all()
    assert (small[:, :, [3, 7]] == LEAD).all()
    scaled = (similarity - similarity.min()) / (similarity.max() - similarity.min())
    tile = colours(torch.cat([scaled[1, 2].flatten(), torch.ones(1)])[None])[:, 0, :-1].unflatten(1, (2, 3))
    assert torch.equal(small[:, 3:5, 8:11], tile)
    seen = visualize_features(torch.tensor([[[0.0, 1.0]], [[0.5, 2.0]], [[1.0, -1.0]]]))
    assert seen[:, 0, 0].tolist() == [0, 128, 255]
    assert seen[:, 0, -1].tolist() == [255, 255, 0]
