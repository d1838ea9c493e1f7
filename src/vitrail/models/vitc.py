"""ViT with a convolutional stem (Xiao et al., 2021, "Early convolutions help transformers see better").

A few 3×3 convolutions replace the 16×16 convolution of the patches, and the encoder has one block less to keep the
cost.
"""

import math
from dataclasses import dataclass
from typing import Any

from ..nn import FirstToken, Head, HybridPatchEmbed, Stages, StridedConvs, VisionModel, init_vit
from .fields import BlockFields, ClassifierFields, PositionedFields
from .parts import classifier, vit_embed, vit_encoder


@dataclass(frozen=True, kw_only=True, slots=True)
class ViTCConfig(PositionedFields, BlockFields, ClassifierFields):
    """ViT with a convolutional stem and a class token.

    Attributes:
        stem: (width, stride) of each 3×3 convolution; a 1×1 convolution projects to `embed_dim`.
        image_size: any size works; halves are rounded up.
    """

    stem: Stages = ((24, 2), (48, 2), (96, 2), (192, 2))
    embed_dim: int = 192
    depth: int = 11
    num_heads: int = 3
    mlp_ratio: float = 3.0
    norm_eps: float = 1e-5

    def build(self) -> VisionModel["ViTCConfig"]:
        dim = self.embed_dim
        reduction = math.prod(stride for _, stride in self.stem)
        patches = HybridPatchEmbed(StridedConvs(self.in_channels, self.stem), self.stem[-1][0], reduction, dim)
        model = VisionModel(
            embed=vit_embed(self, patches),
            encoder=vit_encoder(self),
            head=Head(FirstToken(), classifier(dim, self.num_classes)),
            config=self,
        )
        return model.apply(init_vit)


STEM_4GF: Stages = ((48, 2), (96, 2), (192, 2), (384, 2))
DEEP: dict[str, Any] = {"stem": ((64, 2), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)), "mlp_ratio": 4.0}

VARIANTS = {
    "vitc_1gf": ViTCConfig(),
    "vitc_4gf": ViTCConfig(stem=STEM_4GF, embed_dim=384, num_heads=6),
    "vitc_18gf": ViTCConfig(embed_dim=768, num_heads=12, **DEEP),
    "vitc_36gf": ViTCConfig(embed_dim=1024, depth=13, num_heads=16, **DEEP),
}

PAPER_NAMES = ((r"vit-?c-<number>gf", "vitc_{number}gf"),)
