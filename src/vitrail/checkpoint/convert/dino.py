"""Layouts of DINO. The backbones alone have timm's names of a ViT, and are read as one.

The released "full checkpoints" have a student and a teacher: `convert_state_dict(checkpoint["teacher"], model)`.
"""

from . import timm
from .rename import Layout, Rule, linear

_HEAD = "head.classify"

LAYOUTS = (
    Layout(
        "official DINO",
        (
            *timm.CLASS,
            *timm.block(),
            *timm.AROUND,
            linear(f"{_HEAD}.expand", "head.mlp.0"),
            linear(f"{_HEAD}.hidden", "head.mlp.2"),
            linear(f"{_HEAD}.contract", "head.mlp.4"),
            Rule(f"{_HEAD}.prototypes.lengths", ("head.last_layer.weight_g",)),
            Rule(f"{_HEAD}.prototypes.directions", ("head.last_layer.weight_v",)),
        ),
        prefixes=("module.backbone.", "backbone.", "module."),
    ),
)
