"""The CNNs against torchvision, whose layers they are."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from torch import nn
from torchvision.models import get_model, get_model_weights
from torchvision.ops import StochasticDepth

import vitrail
from vitrail.models.cnn import VARIANTS, fit_channels
from vitrail.models.registry import model_config

from .references import assert_same, count, loaded, on_meta, randomise, saved

SMALL = ("regnet_x_400mf", "regnet_y_400mf", "efficientnet_b0", "mobilenet_v2", "mobilenet_v3_small")


@pytest.mark.parametrize("name", VARIANTS)
def test_published_parameters_of_every_row(name: str) -> None:
    published = get_model_weights(name).DEFAULT.meta["num_params"]
    assert count(on_meta(lambda: vitrail.create_model(name))) == published


def reference(name: str, channels: int = 3) -> nn.Module:
    network = get_model(name, num_classes=9)
    fit_channels(network, channels)
    return randomise(network)


@pytest.mark.parametrize("channels", [3, 1, 4, 13])
def test_torchvision_with_any_channels(channels: int) -> None:
    theirs = reference("resnet18", channels)
    config = model_config("resnet18", in_channels=channels, num_classes=9)
    assert_same(loaded(config, theirs), theirs, torch.randn(2, channels, 64, 47))


@pytest.mark.parametrize("name", SMALL)
def test_torchvision(name: str) -> None:
    theirs = reference(name)
    ours, pixels = loaded(model_config(name, num_classes=9), theirs), torch.randn(2, 3, 64, 32)
    # In float32 only: depthwise convolutions are very slow in float64, and the layers are theirs anyway.
    with torch.no_grad():
        a, b = ours(pixels), theirs(pixels)
    assert b.std() > 0.05
    assert (a - b).abs().max() <= 1e-5 * max(1.0, float(b.abs().max()))


def test_timms_resnet_is_the_same() -> None:
    theirs = randomise(timm.create_model("resnet18", num_classes=9))
    assert_same(loaded(model_config("resnet18", num_classes=9), theirs), theirs, torch.randn(1, 3, 32, 32))


@pytest.mark.parametrize(("name", "layer"), [("resnet18", "basic"), ("resnet50", "bottleneck")])
def test_transformers(name: str, layer: str, tmp_path: Path) -> None:
    widths, depths = ([64, 128, 256, 512], [2, 2, 2, 2]) if layer == "basic" else (None, None)
    sizes = {"layer_type": layer, "num_labels": 9, **({"hidden_sizes": widths, "depths": depths} if widths else {})}
    theirs = randomise(transformers.ResNetForImageClassification(transformers.ResNetConfig(**sizes)))
    config, pixels = model_config(name, num_classes=9), torch.randn(2, 3, 64, 47)
    assert_same(loaded(config, theirs), theirs, pixels)
    assert_same(saved(theirs, config, tmp_path), theirs, pixels)


def test_without_classes_the_pooled_embedding_comes_out() -> None:
    theirs, pixels = reference("mobilenet_v3_small"), torch.randn(2, 3, 64, 64)
    ours = loaded(model_config("mobilenet_v3_small", num_classes=9), theirs)
    bare = vitrail.create_model("mobilenet_v3_small", num_classes=0).eval()
    bare.load_state_dict({name: value for name, value in ours.state_dict().items() if name in bare.state_dict()})
    theirs.classifier[3] = nn.Identity()
    with torch.no_grad():
        a, b = bare(pixels), theirs(pixels)
    assert a.shape == (2, 1024)
    assert (a - b).abs().max() <= 1e-5 * max(1.0, float(b.abs().max()))


def test_rates() -> None:
    def rates(**given: Any) -> list[float]:
        model = on_meta(lambda: vitrail.create_model("efficientnet_b0", **given))
        return [m.p for m in model.modules() if isinstance(m, StochasticDepth | nn.Dropout)]

    assert set(rates()) == {0.0}
    *paths, dropout = rates(drop_path=0.2, dropout=0.3)
    assert (paths[0], paths[-1], dropout) == (0.0, 0.2, 0.3)
    assert paths == sorted(paths)
