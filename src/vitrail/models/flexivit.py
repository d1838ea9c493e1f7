"""FlexiViT (Beyer et al., 2023, "FlexiViT: one model for all patch sizes").

ViT without a position of the class token, trained with random patch sizes: one checkpoint works at all of them.
`vitrail.load(..., patch_size=8)` resizes filters and positions of these and of any other ViT.
"""

from functools import partial

from .vit import LARGE, SMALL, ViTConfig

FlexiViT = partial(ViTConfig, image_size=240, class_position=False)

VARIANTS = {
    "flexivit_small": FlexiViT(**SMALL),
    "flexivit_base": FlexiViT(),
    "flexivit_large": FlexiViT(**LARGE),
}

PAPER_NAMES = ((r"flexi-?vit-<size>", "flexivit_{size}"),)
