"""The CNNs against torchvision, whose layers they are."""

from typing import Any

import pytest
import timm
import torch
from torch import nn
from torchvision.models import get_model
from torchvision.ops import StochasticDepth

import vitrail
from vitrail.models.cnn import VARIANTS, fit_channels
from vitrail.models.registry import model_config

from .references import assert_same, count, loaded, on_meta, randomise

ONE_OF_EACH = ("resnet18", "regnet_x_400mf", "regnet_y_400mf", "efficientnet_b0", "mobilenet_v2", "mobilenet_v3_small")


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    assert count(on_meta(lambda: vitrail.create_model(name))) == count(on_meta(lambda: get_model(name)))


def reference(name: str, channels: int = 3) -> nn.Module:
    network = get_model(name, num_classes=9)
    fit_channels(network, channels)
    return randomise(network)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_torchvision(name: str) -> None:
    theirs = reference(name)
    assert_same(loaded(model_config(name, num_classes=9), theirs), theirs, torch.randn(2, 3, 64, 96))


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_other_channels(channels: int) -> None:
    theirs = reference("mobilenet_v3_small", channels)
    config = model_config("mobilenet_v3_small", in_channels=channels, num_classes=9)
    assert_same(loaded(config, theirs), theirs, torch.randn(2, channels, 75, 33))


def test_timms_resnet_is_the_same() -> None:
    theirs = randomise(timm.create_model("resnet18", num_classes=9))
    assert_same(loaded(model_config("resnet18", num_classes=9), theirs), theirs, torch.randn(1, 3, 64, 64))


def test_without_classes_the_pooled_embedding_comes_out() -> None:
    model = vitrail.create_model("mobilenet_v3_small", num_classes=0).eval()
    assert model(torch.randn(1, 3, 64, 64)).shape == (1, 1024)


def test_rates() -> None:
    def rates(**given: Any) -> list[float]:
        model = on_meta(lambda: vitrail.create_model("efficientnet_b0", **given))
        return [m.p for m in model.modules() if isinstance(m, StochasticDepth | nn.Dropout)]

    assert set(rates()) == {0.0}
    *paths, dropout = rates(drop_path=0.2, dropout=0.3)
    assert (paths[0], paths[-1], dropout) == (0.0, 0.2, 0.3)
    assert paths == sorted(paths)
