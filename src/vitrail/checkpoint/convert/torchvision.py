"""torchvision's names."""

from .rename import Layout, Rule, linear

_BLOCK = "encoder.layers.encoder_layer_{i}"
WITHOUT_PATCHES = (
    Rule("embed.parts.prefix.weight", ("class_token",)),
    Rule("embed.parts.positions.weight", ("encoder.pos_embedding",)),
    linear("encoder.blocks.{i}.attention.norm", f"{_BLOCK}.ln_1"),
    Rule("encoder.blocks.{i}.attention.branch.qkv.{p}", (f"{_BLOCK}.self_attention.in_proj_{{p}}",)),
    linear("encoder.blocks.{i}.attention.branch.project", f"{_BLOCK}.self_attention.out_proj"),
    linear("encoder.blocks.{i}.mlp.norm", f"{_BLOCK}.ln_2"),
    linear("encoder.blocks.{i}.mlp.branch.expand", f"{_BLOCK}.mlp.0"),
    linear("encoder.blocks.{i}.mlp.branch.contract", f"{_BLOCK}.mlp.3"),
    linear("encoder.norm", "encoder.ln"),
    linear("head.classify", "heads.head"),
)
FIELDS = {"position_antialias": False}
PREPROCESS = {"crop": 0.875, "interpolation": "bilinear"}
LAYOUT = Layout(
    "torchvision",
    (linear("embed.patches.project", "conv_proj"), *WITHOUT_PATCHES),
    fields=FIELDS,
    preprocess=PREPROCESS,
)
