"""The names of google-research/big_vision (.npz): FlexiViT, and plain ViTs with fixed positions (SimpleViT).

Positions are added before the class token, which has none. FlexiViT keeps a table of 7×7 and resizes it, bilinearly,
to the grid at hand, so that an image size belongs to no file: what is read is of 7 patches a side, until
`vitrail.load(path, image_size=240)` says more.
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
