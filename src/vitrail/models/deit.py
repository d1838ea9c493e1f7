"""DeiT (Touvron et al., 2021, "Training data-efficient image transformers") and DeiT III (Touvron et al., 2022).

DeiT is ViT, trained otherwise. The distilled DeiT adds a token and a classifier that learn from a teacher. DeiT III is
ViT with layer scale and without a position for the class token.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from ..nn.embed import Embedding, PatchEmbed
from ..nn.head import DistilledHead
from ..nn.init import init_vit
from ..nn.model import VisionModel
from ..nn.positions import LearnedPositions
from ..nn.prefix import PrefixTokens
from .parts import Size, classifier, pair, vit_encoder
from .vit import HUGE, LARGE, SMALL, TINY, ViTConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class DistilledDeiTConfig:
    """DeiT with class and distillation token (section 4). Fields as in `ViTConfig`."""

    image_size: Size = 224
    patch_size: Size = 16
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
        patches = PatchEmbed(self.in_channels, dim, pair(self.patch_size), pad=self.pad)
        positions = LearnedPositions(
            patches.grid(pair(self.image_size)),
            dim,
            prefix=2,
            mode=self.position_mode,
            antialias=self.position_antialias,
        )
        model = VisionModel(
            embed=Embedding(patches, prefix=PrefixTokens(dim, 2), positions=positions),
            encoder=vit_encoder(self),
            head=DistilledHead(classifier(dim, self.num_classes), classifier(dim, self.num_classes)),
            config=self,
        )
        return model.apply(init_vit)


DeiT3 = partial(ViTConfig, layer_scale=1e-6, class_position=False)
MEDIUM: dict[str, Any] = {"embed_dim": 512, "num_heads": 8}

VARIANTS = {
    "deit_tiny_patch16_224": ViTConfig(**TINY),
    "deit_small_patch16_224": ViTConfig(**SMALL),
    "deit_base_patch16_224": ViTConfig(),
    "deit_base_patch16_384": ViTConfig(image_size=384),
    "deit_tiny_distilled_patch16_224": DistilledDeiTConfig(**TINY),
    "deit_small_distilled_patch16_224": DistilledDeiTConfig(**SMALL),
    "deit_base_distilled_patch16_224": DistilledDeiTConfig(),
    "deit_base_distilled_patch16_384": DistilledDeiTConfig(image_size=384),
    "deit3_small_patch16_224": DeiT3(**SMALL),
    "deit3_small_patch16_384": DeiT3(image_size=384, **SMALL),
    "deit3_medium_patch16_224": DeiT3(**MEDIUM),
    "deit3_base_patch16_224": DeiT3(),
    "deit3_base_patch16_384": DeiT3(image_size=384),
    "deit3_large_patch16_224": DeiT3(**LARGE),
    "deit3_large_patch16_384": DeiT3(image_size=384, **LARGE),
    "deit3_huge_patch14_224": DeiT3(patch_size=14, **HUGE),
}
