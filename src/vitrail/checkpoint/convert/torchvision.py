"""Layouts of torchvision's ViTs."""

from .block import named_block
from .rename import Layout, Rule, linear

MLP = ("mlp.0", "mlp.3")
"""torchvision's names of the layers of an MLP; activation and dropout are numbered too."""
WITHOUT_PATCHES = (
    Rule("embed.parts.prefix.weight", ("class_token",)),
    Rule("embed.parts.positions.weight", ("encoder.pos_embedding",)),
    *named_block(
        "encoder.layers.encoder_layer_{i}",
        norms=("ln_1", "ln_2"),
        qkv=("self_attention.in_proj_{p}",),
        project="self_attention.out_proj",
        mlp=MLP,
    ),
    linear("encoder.norm", "encoder.ln"),
    linear("head.classify", "heads.head"),
)
FIELDS = {"position_antialias": False}
PREPROCESS = {"crop": 0.875, "interpolation": "bilinear"}
TORCHVISION = Layout(
    "torchvision",
    (linear("embed.patches.project", "conv_proj"), *WITHOUT_PATCHES),
    fields=FIELDS,
    preprocess=PREPROCESS,
)
LAYOUTS = (TORCHVISION,)
