"""Hybrid ViT (Dosovitskiy et al., 2021, section 3.1; Steiner et al., 2021, "How to train your ViT?").

ViT whose patches are cut from the map of a ResNet instead of the picture.
"""

from dataclasses import dataclass
from typing import Any

from ..nn.bit import BiTResNet
from ..nn.embed import Embedding, HybridPatchEmbed
from ..nn.head import FirstToken, Head
from ..nn.init import init_vit
from ..nn.model import VisionModel
from ..nn.positions import LearnedPositions
from ..nn.prefix import PrefixTokens
from .parts import Size, classifier, pair, vit_encoder
from .vit import LARGE, SMALL, TINY


@dataclass(frozen=True, kw_only=True, slots=True)
class HybridViTConfig:
    """A ResNet, and a ViT with a class token on its map.

    Attributes:
        backbone_depths: bottlenecks of each stage of the ResNet; its map has cells of 4 pixels a side, twice as many
            for each stage after the first.
        backbone_width: channels of its stem.
        patch_size: cells of the map a side.
        pad: fill maps up to a multiple of the patch instead of refusing them.
        other fields: as in `ViTConfig`.
    """

    image_size: Size = 224
    backbone_depths: tuple[int, ...] = (3, 4, 9)
    backbone_width: int = 64
    patch_size: Size = 1
    in_channels: int = 3
    num_classes: int = 1000
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    drop_path: float = 0.0
    dropout: float = 0.0
    norm_eps: float = 1e-6
    pad: bool = False
    position_mode: str = "bicubic"
    position_antialias: bool = True

    def build(self) -> VisionModel:
        dim = self.embed_dim
        resnet = BiTResNet(self.in_channels, self.backbone_depths, self.backbone_width)
        patches = HybridPatchEmbed(resnet, resnet.channels, resnet.reduction, dim, pair(self.patch_size), pad=self.pad)
        positions = LearnedPositions(
            patches.grid(pair(self.image_size)),
            dim,
            prefix=1,
            mode=self.position_mode,
            antialias=self.position_antialias,
        )
        model = VisionModel(
            embed=Embedding(patches, prefix=PrefixTokens(dim), positions=positions),
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
