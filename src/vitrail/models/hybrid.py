"""Hybrid ViT (Dosovitskiy et al., 2021, section 3.1; Steiner et al., 2021, "How to train your ViT?").

ViT on the cells of a ResNet's map instead of patches of the image.
"""

from dataclasses import dataclass
from typing import Any

from ..nn import BiTResNet, FirstToken, Head, HybridPatchEmbed, VisionModel, init_vit
from .fields import BlockFields, PositionedFields, Size, ViTFields, pair
from .parts import classifier, vit_embed, vit_encoder
from .vit import LARGE, SMALL, TINY


@dataclass(frozen=True, kw_only=True, slots=True)
class HybridViTConfig(ViTFields, PositionedFields, BlockFields):
    """Hybrid ViT: a ResNet, and a ViT with a class token on its map.

    Attributes:
        backbone_depths: number of bottlenecks in each stage of the ResNet. A cell of its map has a side of 4 pixels
        after the first stage, doubled by each later one.
        backbone_width: channels of the ResNet's stem.
        patch_size: side of a patch in cells of the map.
        pad: pad maps with zeros to a multiple of the patch size; otherwise other sizes are an error.
    """

    backbone_depths: tuple[int, ...] = (3, 4, 9)
    backbone_width: int = 64
    patch_size: Size = 1

    def build(self) -> VisionModel["HybridViTConfig"]:
        dim = self.embed_dim
        resnet = BiTResNet(self.in_channels, self.backbone_depths, self.backbone_width)
        patches = HybridPatchEmbed(resnet, resnet.channels, resnet.reduction, dim, pair(self.patch_size), pad=self.pad)
        model = VisionModel(
            embed=vit_embed(self, patches),
            encoder=vit_encoder(self),
            head=Head(FirstToken(), classifier(dim, self.num_classes)),
            config=self,
        )
        return model.apply(init_vit)


STEM: dict[str, Any] = {"backbone_depths": (), "patch_size": 8, **TINY}
R26: dict[str, Any] = {"backbone_depths": (2, 2, 2, 2)}
R50: dict[str, Any] = {"backbone_depths": (3, 4, 6, 3)}

VARIANTS = {
    "vit_tiny_r_s16_p8_224": HybridViTConfig(**STEM),
    "vit_tiny_r_s16_p8_384": HybridViTConfig(image_size=384, **STEM),
    "vit_small_r26_s32_224": HybridViTConfig(**R26, **SMALL),
    "vit_small_r26_s32_384": HybridViTConfig(image_size=384, **R26, **SMALL),
    "vit_base_r26_s32_224": HybridViTConfig(**R26),
    "vit_base_r50_s16_224": HybridViTConfig(),
    "vit_base_r50_s16_384": HybridViTConfig(image_size=384),
    "vit_large_r50_s32_224": HybridViTConfig(**R50, **LARGE),
    "vit_large_r50_s32_384": HybridViTConfig(image_size=384, **R50, **LARGE),
}

PAPER_NAMES = (
    (r"r(?P<layers>50|26)\+(vit-)?<size>-?<patch>(-<image>)?", "vit_{size}_r{layers}_s{patch}_{image:224}"),
    (r"r\+(vit-)?ti-?16(-<image>)?", "vit_tiny_r_s16_p8_{image:224}"),
)
