"""Layouts of ConvNeXt; those of V2 have an additional norm inside the MLP."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from ...errors import VitrailError
from ...models.convnext import ConvNeXtConfig
from .rename import Layout, Rule, Transform, linear

_STAGE = "encoder.blocks.{s}"
_LATER = (1, 2, 3)
# timm's small models have 1×1 convolutions for linear layers.
_LINEAR = Transform(lambda weight: weight.flatten(1) if weight.ndim > 2 else weight, lambda weight, heads: (weight,))
_CHANNELS_FIRST, _CHANNELS_LAST = (-1, 1, 1), (1, 1, 1, -1)


def _factors(*shape: int) -> Transform:
    """Factors of channels, which have this shape in the source."""
    return Transform(lambda factors: factors.flatten(), lambda factors, heads: (factors.reshape(shape),))


def _block(
    theirs: str,
    *,
    conv: str,
    norm: str,
    expand: str,
    contract: str,
    scale: str,
    scale_shape: tuple[int, ...] = (-1,),
    response: tuple[str, str] = ("", ""),
    response_shape: tuple[int, ...] = (-1,),
    ours: str = _STAGE,
) -> tuple[Rule, ...]:
    residual = f"{ours}.blocks.{{i}}.depthwise"
    response_rules = tuple(
        Rule(f"{residual}.branch.mlp.norm.{part}", (f"{theirs}.{name}",), _factors(*response_shape))
        for part, name in zip(("weight", "bias"), response, strict=True)
        if name
    )
    return (
        linear(f"{residual}.branch.conv", f"{theirs}.{conv}"),
        linear(f"{residual}.branch.norm.layer", f"{theirs}.{norm}"),
        linear(f"{residual}.branch.mlp.expand", f"{theirs}.{expand}", transform=_LINEAR),
        linear(f"{residual}.branch.mlp.contract", f"{theirs}.{contract}", transform=_LINEAR),
        Rule(f"{residual}.scale.weight", (f"{theirs}.{scale}",), _factors(*scale_shape)),
        *response_rules,
    )


def _ends(conv: str, first: str, norm: str, classify: str) -> tuple[Rule, ...]:
    return (
        linear("embed.patches.project", conv),
        linear("embed.parts.norm.layer", first),
        linear("head.norm", norm),
        linear("head.classify", classify),
    )


def _merging(theirs: str, ours: str = _STAGE) -> tuple[Rule, ...]:
    return linear(f"{ours}.reduce.norm", f"{theirs}.0"), linear(f"{ours}.reduce.project", f"{theirs}.1")


_TIMM = (
    *_ends("stem.0", "stem.1", "head.norm", "head.fc"),
    *_merging("stages.{s}.downsample"),
    *_block(
        "stages.{s}.blocks.{i}",
        conv="conv_dw",
        norm="norm",
        expand="mlp.fc1",
        contract="mlp.fc2",
        scale="gamma",
        response=("mlp.grn.weight", "mlp.grn.bias"),
    ),
)
_named = partial(_block, conv="dwconv", expand="pwconv1", contract="pwconv2", response_shape=_CHANNELS_LAST)
_OFFICIAL = (
    *_ends("downsample_layers.0.0", "downsample_layers.0.1", "norm", "head"),
    *(rule for stage in _LATER for rule in _merging(f"downsample_layers.{stage}", ours=f"encoder.blocks.{stage}")),
    *_named("stages.{s}.{i}", norm="norm", scale="gamma", response=("grn.gamma", "grn.beta")),
)
_TRANSFORMERS = (
    *_ends("embeddings.patch_embeddings", "embeddings.layernorm", "layernorm", "classifier"),
    *_merging("encoder.stages.{s}.downsampling_layer"),
    *_named(
        "encoder.stages.{s}.layers.{i}",
        norm="layernorm",
        scale="layer_scale_parameter",
        response=("grn.weight", "grn.bias"),
    ),
)


def _torchvision() -> tuple[Rule, ...]:
    """Rules for torchvision's list of features, in which stages and reductions alternate."""
    rules = [*_ends("features.0.0", "features.0.1", "classifier.0", "classifier.2")]
    block = partial(
        _block,
        conv="block.0",
        norm="block.2",
        expand="block.3",
        contract="block.5",
        scale="layer_scale",
        scale_shape=_CHANNELS_FIRST,
    )
    for stage in (0, *_LATER):
        ours = f"encoder.blocks.{stage}"
        rules += block(f"features.{2 * stage + 1}.{{i}}", ours=ours)
        rules += _merging(f"features.{2 * stage}", ours) if stage else ()
    return tuple(rules)


LAYOUTS = (
    Layout("timm ConvNeXt", _TIMM),
    Layout("official ConvNeXt", _OFFICIAL),
    Layout("transformers ConvNeXt", _TRANSFORMERS, prefixes=("convnext.", "convnextv2.")),
    Layout("torchvision ConvNeXt", _torchvision(), preprocess={"interpolation": "bilinear"}),
)


def _config(card: Mapping[str, Any]) -> ConvNeXtConfig:
    widths, scale = card["hidden_sizes"], card.get("layer_scale_init_value", 0)
    if list(widths) != [widths[0] * 2**stage for stage in range(len(widths))] or card["hidden_act"] != "gelu":
        raise VitrailError(
            f"a ConvNeXt of widths {widths} with {card['hidden_act']!r} is not supported: "
            "each stage must double the width, and the activation must be 'gelu'"
        )
    second = card["model_type"] == "convnextv2"
    return ConvNeXtConfig(
        image_size=card["image_size"],
        patch_size=card["patch_size"],
        embed_dim=widths[0],
        depths=tuple(card["depths"]),
        layer_scale=scale if scale and not second else None,
        response_norm=second,
        head_norm_eps=card["layer_norm_eps"],
    )


CONFIGS = {"convnext": _config, "convnextv2": _config}
