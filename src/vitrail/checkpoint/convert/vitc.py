"""Layout of torchvision's ViTs with a convolutional stem; the authors published code without weights."""

from . import torchvision
from .rename import Layout, Rule, linear

_OURS, _THEIRS = "embed.patches.backbone.{i}", "conv_proj.conv_bn_relu_{i}"
LAYOUTS = (
    Layout(
        "torchvision ViT with a convolutional stem",
        (
            Rule(f"{_OURS}.0.weight", (f"{_THEIRS}.0.weight",)),
            Rule(f"{_OURS}.1.{{b}}", (f"{_THEIRS}.1.{{b}}",)),
            linear("embed.patches.patches.project", "conv_proj.conv_last"),
            *torchvision.WITHOUT_PATCHES,
        ),
        fields={**torchvision.FIELDS, "norm_eps": 1e-6},
        preprocess=torchvision.PREPROCESS,
    ),
)
