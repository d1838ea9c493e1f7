"""DeiT (Touvron et al., 2021, "Training data-efficient image transformers") and DeiT III (Touvron et al., 2022).

DeiT is ViT with another training recipe. The distilled DeiT adds a token and a classifier that are trained on a
teacher's outputs. DeiT III is ViT with layer scale and without a position of the class token.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from ..nn import DistilledHead, DistilledLogits, FirstToken, FirstTwoTokens, Head, VisionModel, init_vit
from .fields import BlockFields, PositionedFields, ViTFields
from .parts import classifier, patch_embed, vit_embed, vit_encoder
from .vit import HUGE, LARGE, SMALL, TINY, ViTConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class DistilledDeiTConfig(ViTFields, PositionedFields, BlockFields):
    """Distilled DeiT, with class and distillation token (section 4).

    Attributes:
        distilled_head: whether the distillation token has a classifier; otherwise the class token's is the only one
        (transformers' `DeiTForImageClassification`).
    """

    distilled_head: bool = True

    def build(self) -> VisionModel["DistilledDeiTConfig", "DistilledLogits | Tensor"]:
        model = VisionModel(
            embed=vit_embed(self, patch_embed(self), prefix=2),
            encoder=vit_encoder(self),
            head=self.head(),
            config=self,
        )
        return model.apply(init_vit)

    def head(self) -> DistilledHead | Head:
        if self.distilled_head and not self.num_classes:
            return Head(FirstTwoTokens())
        classify = classifier(self.embed_dim, self.num_classes)
        if not self.distilled_head:
            return Head(FirstToken(), classify)
        return DistilledHead(classify, classifier(self.embed_dim, self.num_classes))


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

PAPER_NAMES = (
    (r"deit", "deit_base_patch16_224"),
    (r"deit-<size>(-?<patch>)?(-<image>)?", "deit_{size}_patch{patch:16}_{image:224}"),
    (r"deit-<size>(-distilled|⚗)(-?<patch>)?(-<image>)?", "deit_{size}_distilled_patch{patch:16}_{image:224}"),
    (r"deit-?(3|iii)-(h|huge)(-14)?(-<image>)?", "deit3_huge_patch14_{image:224}"),
    (r"deit-?(3|iii)-<size>(-?<patch>)?(-<image>)?", "deit3_{size}_patch{patch:16}_{image:224}"),
)
