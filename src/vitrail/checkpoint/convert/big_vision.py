"""Layouts of google-research/big_vision (.npz): FlexiViT, and plain ViTs with fixed positions (SimpleViT).

Positions are added before the class token, which has none. FlexiViT stores a 7×7 table of positions and resizes it
bilinearly to the current grid, so its files do not define an image size: models are read with 7 patches a side, unless
another size is given, as in `vitrail.load(path, image_size=240)`.
"""

from . import official
from .rename import Layout

LAYOUTS = (
    Layout(
        "big_vision npz",
        (*official.PATCH_RULES, *official.without_patches("pos_embedding", (0, 1, 0))),
        prefixes=("params/",),
        fields={"position_mode": "bilinear"},
        preprocess=official.PREPROCESS,
    ),
)
