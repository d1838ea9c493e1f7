"""SimpleViT (Beyer et al., 2022, "Better plain ViT baselines for ImageNet-1k")."""

from dataclasses import dataclass

from ..nn.embed import Embedding, PatchEmbed
from ..nn.head import Head, MeanPool
from ..nn.init import init_vit
from ..nn.model import VisionModel
from ..nn.positions import SinCosPositions
from .parts import Size, classifier, pair, vit_encoder
from .vit import LARGE, SMALL, TINY


@dataclass(frozen=True, kw_only=True, slots=True)
class SimpleViTConfig:
    """ViT with fixed sine-cosine positions and the mean over the patches instead of a class token.

    The positions are computed for the grid at hand, so any image size works as it is. Fields as in `ViTConfig`.
    """

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

    def build(self) -> VisionModel:
        dim = self.embed_dim
        patches = PatchEmbed(self.in_channels, dim, pair(self.patch_size), pad=self.pad)
        model = VisionModel(
            embed=Embedding(patches, positions=SinCosPositions(dim)),
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
