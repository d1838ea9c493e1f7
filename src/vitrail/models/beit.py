"""BEiT (Bao et al., 2022, "BERT pre-training of image transformers") and BEiT v2 (Peng et al., 2022).

ViT with relative instead of absolute positions, layer scale, no bias on the keys, and the mean over the patches.
BEiT v2 is the same model after another pre-training.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from ..nn.attention import MultiHeadAttention
from ..nn.embed import Embedding
from ..nn.encoder import Block, Encoder
from ..nn.head import Head, MeanPool
from ..nn.init import init_vit, shrink_by_depth
from ..nn.model import VisionModel
from ..nn.prefix import PrefixTokens
from ..nn.projections import JointProjectionWithoutKeyBias
from ..nn.relative import RelativeBiasWithClass
from ..nn.residual import linear_rates
from .fields import ViTFields, pair
from .parts import classifier, patch_embed, vit_residuals
from .vit import LARGE


@dataclass(frozen=True, kw_only=True, slots=True)
class BEiTConfig(ViTFields):
    """A ViT whose blocks each have a table of relative positions."""

    layer_scale: float = 0.1

    def build(self) -> VisionModel:
        dim = self.embed_dim
        patches = patch_embed(self)
        window = patches.grid(pair(self.image_size))
        blocks = [self.block(window, rate) for rate in linear_rates(self.drop_path, self.depth)]
        norm = nn.LayerNorm(dim, eps=self.norm_eps)
        model = VisionModel(
            embed=Embedding(patches, prefix=PrefixTokens(dim)),
            encoder=Encoder(blocks),
            head=Head(MeanPool(), classifier(dim, self.num_classes), norm=norm),
            config=self,
        )
        model.apply(init_vit)
        shrink_by_depth(blocks, ends=("attention.branch.project", "mlp.branch.contract"))
        return model

    def block(self, window: tuple[int, int], drop_path: float) -> Block:
        dim, heads = self.embed_dim, self.num_heads
        attention = MultiHeadAttention(
            dim,
            heads,
            qkv=JointProjectionWithoutKeyBias(dim, heads),
            bias=RelativeBiasWithClass(window, heads),
            dropout=self.dropout,
        )
        return Block(**vit_residuals(self, attention, drop_path=drop_path, layer_scale=self.layer_scale))


BEIT_LARGE: dict[str, Any] = {**LARGE, "layer_scale": 1e-5}

VARIANTS = {
    "beit_base_patch16_224": BEiTConfig(),
    "beit_base_patch16_384": BEiTConfig(image_size=384),
    "beit_large_patch16_224": BEiTConfig(**BEIT_LARGE),
    "beit_large_patch16_384": BEiTConfig(image_size=384, **BEIT_LARGE),
    "beit_large_patch16_512": BEiTConfig(image_size=512, **BEIT_LARGE),
    "beitv2_base_patch16_224": BEiTConfig(layer_scale=1e-5),
    "beitv2_large_patch16_224": BEiTConfig(**BEIT_LARGE),
}
