"""What is read from each block: by hand with the model's own parts, for heads of every kind."""

import pytest
import torch
from torch import nn

from vitrail.errors import VitrailError
from vitrail.lens.probe.layers import block_names, layer_features, logit_lens
from vitrail.models.registry import create_model
from vitrail.nn import Encoder, Head, MapEmbed, MeanPool, OnMap, VisionModel, joined

TINY = {"image_size": 16, "patch_size": 4, "embed_dim": 16, "num_heads": 2, "depth": 3, "num_classes": 5}


def model_of(name, **changes):
    return create_model(name, **{**TINY, **changes}).eval()


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "simple_vit_small_patch16_224"]
)
def test_the_logit_lens_stops_after_each_block(name):
    model, pixels = model_of(name), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        found = logit_lens(model, pixels)
        tokens, expected = model.embed(pixels), []
        for block in model.encoder.blocks:
            tokens = block(tokens)
            expected.append(joined(model.head(tokens.with_x(model.encoder.norm(tokens.x)))))
        answer = joined(model(pixels))
    assert found.shape == (3, 2, 5)
    assert torch.allclose(found, torch.stack(expected), atol=1e-6)
    assert torch.allclose(found[-1], answer, atol=1e-6)


def test_features_are_the_class_token_and_the_mean_of_patches():
    model, pixels = model_of("deit_tiny_distilled_patch16_224"), torch.randn(2, 3, 16, 16)
    found = layer_features(model, pixels)
    assert tuple(found) == block_names(model) == tuple(f"encoder.blocks.{place}" for place in range(3))
    with torch.no_grad():
        tokens = model.encoder.blocks[0](model.embed(pixels))
    assert torch.allclose(found["encoder.blocks.0"]["class"], tokens.x[:, 0], atol=1e-6)
    assert torch.allclose(found["encoder.blocks.0"]["mean"], tokens.x[:, 2:].mean(1), atol=1e-6)


def test_pyramids_are_probed_but_have_no_lens():
    sizes = {"image_size": 32, "embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window_size": 2}
    model = create_model("swin_tiny_patch4_window7_224", num_classes=4, **sizes).eval()
    pixels = torch.randn(1, 3, 32, 32)
    found = layer_features(model, pixels)
    assert [set(parts) for parts in found.values()] == [{"mean"}, {"mean"}]
    assert [parts["mean"].shape[1] for parts in found.values()] == [8, 16]
    with pytest.raises(VitrailError, match="pyramid"):
        logit_lens(model, pixels)


def test_networks_of_maps_are_probed_but_have_no_lens():
    stages = [OnMap(nn.Conv2d(4, 6, 3, stride=2)), OnMap(nn.Conv2d(6, 8, 3, stride=2))]
    head = Head(MeanPool(), nn.Linear(8, 3))
    model = VisionModel(MapEmbed(nn.Conv2d(3, 4, 3)), Encoder(stages), head, config=None).eval()
    pixels = torch.randn(1, 3, 16, 16)
    assert [parts["mean"].shape[1] for parts in layer_features(model, pixels).values()] == [6, 8]
    with pytest.raises(VitrailError, match="logit lens needs blocks of one width"):
        logit_lens(model, pixels)


def test_a_model_without_blocks_is_a_sentence():
    with pytest.raises(VitrailError, match="no encoder of blocks"):
        block_names(torch.nn.Linear(2, 2))
