"""CNNs of torchvision, as baselines and teachers of ViTs.

Their layers are arranged as in a ViT: the stem is the embedding, each stage a block of the encoder, the classifier the
head, so that everything that works on stages of tokens works on them. DeiT's teacher is `regnet_y_16gf`.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..nn import Encoder, Head, MapEmbed, MeanPool, OnMap, VisionModel, linear_rates
from .fields import ClassifierFields


@dataclass(frozen=True, kw_only=True, slots=True)
class CNNConfig(ClassifierFields):
    """A CNN of torchvision.

    Attributes:
        network: torchvision's name, one of `SIZES`.
        image_size: image size of the published weights; any other works too.
        drop_path: rate of stochastic depth in the last block of an EfficientNet; other networks have none.
        dropout: rate of dropout before the classifier, if the network has it.
    """

    network: str = "resnet18"
    drop_path: float = 0.0
    dropout: float = 0.0

    def build(self) -> VisionModel["CNNConfig"]:
        from torchvision.models import get_model

        with NumbersOnCPU():
            network = get_model(self.network, num_classes=self.num_classes or 1)
        stem, stages, hidden, classify = cut(network)
        model = VisionModel(
            embed=MapEmbed(stem),
            encoder=Encoder([OnMap(stage) for stage in stages]),
            head=Head(
                nn.Sequential(OrderedDict(mean=MeanPool(), hidden=hidden)),
                classify if self.num_classes else nn.Identity(),
            ),
            config=self,
        )
        fit_channels(stem, self.in_channels)
        set_rates(model, self.drop_path, self.dropout)
        return model


class NumbersOnCPU(TorchFunctionMode):
    """Mode in which torchvision's small tensors for RegNet's widths are on the CPU, also under the meta device."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        place = {"device": "cpu"} if func in (torch.arange, torch.tensor) else {}
        return func(*args, **{**place, **(kwargs or {})})


def cut(network: nn.Module) -> tuple[nn.Module, list[nn.Module], nn.Module, nn.Module]:
    """Split a torchvision network into stem, stages, layers after the pooling, and classifier."""
    parts = dict(network.named_children())
    if "features" in parts:  # EfficientNet and MobileNet
        (stem, *stages), (*hidden, classify) = parts["features"].children(), parts["classifier"].children()
        return stem, stages, nn.Sequential(*hidden), classify
    if "trunk_output" in parts:  # RegNet
        return parts["stem"], list(parts["trunk_output"].children()), nn.Identity(), parts["fc"]
    stem = nn.Sequential(OrderedDict((name, parts[name]) for name in ("conv1", "bn1", "relu", "maxpool")))
    return stem, [parts[f"layer{number}"] for number in (1, 2, 3, 4)], nn.Identity(), parts["fc"]


def fit_channels(stem: nn.Module, in_channels: int) -> None:
    """Replace the first convolution if the number of channels is not 3."""
    name, conv = next((name, layer) for name, layer in stem.named_modules() if isinstance(layer, nn.Conv2d))
    if conv.in_channels == in_channels:
        return
    fresh = nn.Conv2d(
        in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        stride=conv.stride,  # type: ignore[arg-type]
        padding=conv.padding,  # type: ignore[arg-type]
        bias=conv.bias is not None,
    )
    nn.init.kaiming_normal_(fresh.weight, mode="fan_out", nonlinearity="relu")
    stem.set_submodule(name, fresh)


def set_rates(model: nn.Module, drop_path: float, dropout: float) -> None:
    """Set the rates of stochastic depth, growing linearly over the blocks, and of dropout."""
    from torchvision.ops import StochasticDepth

    paths = [layer for layer in model.modules() if isinstance(layer, StochasticDepth)]
    for path, rate in zip(paths, linear_rates(drop_path, len(paths)), strict=True):
        path.p = rate
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = dropout


SIZES = {
    **dict.fromkeys(("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"), 224),
    **dict.fromkeys(("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"), 224),
    **dict.fromkeys(("wide_resnet50_2", "wide_resnet101_2"), 224),
    **dict.fromkeys(("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"), 224),
    **dict.fromkeys(("regnet_y_400mf", "regnet_y_800mf", "regnet_y_1_6gf", "regnet_y_3_2gf"), 224),
    **dict.fromkeys(("regnet_y_8gf", "regnet_y_16gf", "regnet_y_32gf"), 224),
    **dict.fromkeys(("regnet_x_400mf", "regnet_x_800mf", "regnet_x_1_6gf", "regnet_x_3_2gf"), 224),
    **dict.fromkeys(("regnet_x_8gf", "regnet_x_16gf", "regnet_x_32gf"), 224),
    "regnet_y_128gf": 384,
    "efficientnet_b0": 224,
    "efficientnet_b1": 240,
    "efficientnet_b2": 288,
    "efficientnet_b3": 300,
    "efficientnet_b4": 380,
    "efficientnet_b5": 456,
    "efficientnet_b6": 528,
    "efficientnet_b7": 600,
    "efficientnet_v2_s": 384,
    "efficientnet_v2_m": 480,
    "efficientnet_v2_l": 480,
}
VARIANTS = {name: CNNConfig(network=name, image_size=size) for name, size in SIZES.items()}

PAPER_NAMES = (
    (r"resnet-<number>", "resnet{number}"),
    (r"efficientnet-b<number>", "efficientnet_b{number}"),
    (r"regnet-?(?P<letter>[xy])-(?P<flops>[\d.]+)(?P<unit>[gm])f", "regnet_{letter}_{flops}{unit}f"),
    (r"mobilenet-?v2", "mobilenet_v2"),
)
