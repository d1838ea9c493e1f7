"""Layouts of CNNs: torchvision's names, which timm's ResNets share, and those of transformers' ResNets."""

from collections.abc import Mapping
from typing import Any

from ...errors import VitrailError
from ...models.cnn import CNNConfig
from . import torchvision
from .expect import expect
from .rename import Layout, Rule, linear
from .resnet import transformers_resnet

_DEEPEST = 18
"""Number of feature layers after the stem in MobileNetV2, which has the most."""


def _stage(number: int) -> str:
    return f"encoder.blocks.{number}.layers" if number >= 0 else "embed.layers"


def _same(ours: str, theirs: str, inner: str) -> Rule:
    return Rule(f"{ours}.{inner}", (f"{theirs}.{inner}",))


_RESNET = (
    Rule("embed.layers.conv1.weight", ("conv1.weight",)),
    Rule("embed.layers.bn1.{b}", ("bn1.{b}",)),
    *(_same(_stage(number), f"layer{number + 1}", "{i}.{x}") for number in range(4)),
    linear("head.classify", "fc"),
)
_REGNET = (
    _same("embed.layers", "stem", "{i}.{b}"),
    *(_same(_stage(number), f"trunk_output.block{number + 1}", "{x}") for number in range(4)),
    linear("head.classify", "fc"),
)
# Not "{x}" alone: other torchvision networks, such as Swin, have features too.
_FEATURES = tuple(
    _same(_stage(number - 1), f"features.{number}", inner)
    for number in range(_DEEPEST + 1)
    for inner in ("{i}.{b}", "{i}.block.{x}", "block.{x}", "conv.{x}")
)

_TRANSFORMERS = (
    *transformers_resnet("embed.layers", tuple(map(_stage, range(4))), "", "b"),
    linear("head.classify", "classifier.1"),
)

LAYOUTS = (
    *(
        Layout(f"torchvision {name}", rules, preprocess=torchvision.PREPROCESS)
        for name, rules in {
            "ResNet": _RESNET,
            "RegNet": _REGNET,
            "EfficientNet": (*_FEATURES, linear("head.classify", "classifier.1")),
            "MobileNetV3": (
                *_FEATURES,
                linear("head.pool.hidden.0", "classifier.0"),
                linear("head.classify", "classifier.3"),
            ),
        }.items()
    ),
    Layout("transformers ResNet", _TRANSFORMERS, prefixes=("resnet.",)),
)

_BASIC, _BOTTLENECK = ("basic", [64, 128, 256, 512]), ("bottleneck", [256, 512, 1024, 2048])
_RESNETS: dict[str, tuple[tuple[str, list[int]], list[int]]] = {
    "resnet18": (_BASIC, [2, 2, 2, 2]),
    "resnet34": (_BASIC, [3, 4, 6, 3]),
    "resnet50": (_BOTTLENECK, [3, 4, 6, 3]),
    "resnet101": (_BOTTLENECK, [3, 4, 23, 3]),
    "resnet152": (_BOTTLENECK, [3, 8, 36, 3]),
}


def _config(card: Mapping[str, Any]) -> CNNConfig:
    expect(card, embedding_size=64, hidden_act="relu", downsample_in_first_stage=False, downsample_in_bottleneck=False)
    layer, widths, depths = card["layer_type"], card["hidden_sizes"], card["depths"]
    network = next((name for name, shape in _RESNETS.items() if shape == ((layer, widths), depths)), None)
    if network is None:
        raise VitrailError(
            f"these weights are a ResNet of {layer} layers, depths {depths} and widths {widths}: "
            f"supported are {', '.join(_RESNETS)}"
        )
    return CNNConfig(network=network, in_channels=card["num_channels"])


CONFIGS = {"resnet": _config}
