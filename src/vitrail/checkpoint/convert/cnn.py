"""torchvision's names of CNNs; timm's ResNets have the same."""

from . import torchvision
from .rename import Layout, Rule, linear

_DEEPEST = 18
"""Features behind the stem of MobileNetV2, which has most."""


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
# Not "{x}" alone: other networks of torchvision, such as Swin, have features too.
_FEATURES = tuple(
    _same(_stage(number - 1), f"features.{number}", inner)
    for number in range(_DEEPEST + 1)
    for inner in ("{i}.{b}", "{i}.block.{x}", "block.{x}", "conv.{x}")
)

LAYOUTS = tuple(
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
)
