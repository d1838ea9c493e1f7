"""SimpleViT (Beyer et al., 2022, "Better plain ViT baselines for ImageNet-1k")."""

from dataclasses import dataclass

from ..nn import Embedding, Head, MeanPool, SinCosPositions, VisionModel, init_vit
from .fields import BlockFields, ViTFields
from .parts import classifier, patch_embed, vit_encoder
from .vit import LARGE, SMALL, TINY


@dataclass(frozen=True, kw_only=True, slots=True)
class SimpleViTConfig(ViTFields, BlockFields):
    """SimpleViT: a ViT with fixed sine-cosine positions, and the mean over the patches instead of a class token.

    The positions are computed for the current grid, so any image size works.
    """

    def build(self) -> VisionModel["SimpleViTConfig"]:
        dim = self.embed_dim
        model = VisionModel(
            embed=Embedding(patch_embed(self), positions=SinCosPositions(dim)),
            encoder=vit_encoder(self),
            head=Head(MeanPool(), classifier(dim, self.num_classes)),
            config=self,
        )
        return model.apply(init_vit)


VARIANTS = {
    "simple_vit_tiny_patch16_224": SimpleViTConfig(**TINY),
    "simple_vit_small_patch16_224": SimpleViTConfig(**SMALL),
    "simple_vit_small_patch32_224": SimpleViTConfig(patch_size=32, **SMALL),
    "simple_vit_base_patch16_224": SimpleViTConfig(),
    "simple_vit_base_patch32_224": SimpleViTConfig(patch_size=32),
    "simple_vit_large_patch16_224": SimpleViTConfig(**LARGE),
}

PAPER_NAMES = (
    (r"simple-?vit", "simple_vit_small_patch16_224"),
    (r"simple-?vit-<size>(-?<patch>)?(-<image>)?", "simple_vit_{size}_patch{patch:16}_{image:224}"),
)
