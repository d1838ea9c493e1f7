"""CaiT (Touvron et al., 2021, "Going deeper with image transformers").

ViT whose patches talk among themselves first, with heads that talk too; then a class token joins and listens. A small
layer scale lets it be deep.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from ..nn.attend import TalkingHeadsAttend
from ..nn.attention import MultiHeadAttention
from ..nn.class_attention import ClassAttention, PrefixOnly
from ..nn.embed import Embedding, PatchEmbed
from ..nn.encoder import Block, Encoder, Stage
from ..nn.head import FirstToken, Head
from ..nn.init import init_vit
from ..nn.mlp import MLP
from ..nn.model import VisionModel
from ..nn.positions import LearnedPositions
from ..nn.prefix import PrefixTokens
from .parts import Size, classifier, pair, pre_norm


@dataclass(frozen=True, kw_only=True, slots=True)
class CaiTConfig:
    """A stage of patches and one of the class token.

    Attributes:
        depth, class_depth: blocks of the patches, and of the class token behind them.
        layer_scale: initial factor of each branch; smaller for deeper models (table 1).
        drop_path: rate of all blocks of the patches alike; those of the class token drop nothing.
        other fields: as in `ViTConfig`.
    """

    image_size: Size = 224
    patch_size: Size = 16
    in_channels: int = 3
    num_classes: int = 1000
    embed_dim: int = 384
    depth: int = 24
    class_depth: int = 2
    num_heads: int = 8
    mlp_ratio: float = 4.0
    layer_scale: float = 1e-5
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
            patches.grid(pair(self.image_size)), dim, mode=self.position_mode, antialias=self.position_antialias
        )
        class_token = PrefixTokens(dim)
        nn.init.trunc_normal_(class_token.weight, std=0.02)
        stages = [
            Stage([self.patch_block() for _ in range(self.depth)]),
            Stage([self.class_block() for _ in range(self.class_depth)], reduce=class_token),
        ]
        model = VisionModel(
            embed=Embedding(patches, positions=positions),
            encoder=Encoder(stages, norm=nn.LayerNorm(dim, eps=self.norm_eps)),
            head=Head(FirstToken(), classifier(dim, self.num_classes)),
            config=self,
        )
        return model.apply(init_vit)

    def patch_block(self) -> Block:
        dim, heads = self.embed_dim, self.num_heads
        attention = MultiHeadAttention(dim, heads, attend=TalkingHeadsAttend(heads), dropout=self.dropout)
        residual = partial(
            pre_norm, dim, drop_path=self.drop_path, layer_scale=self.layer_scale, norm_eps=self.norm_eps
        )
        return Block(attention=residual(attention), mlp=residual(self.mlp()))

    def class_block(self) -> Block:
        attention = ClassAttention(self.embed_dim, self.num_heads)
        residual = partial(pre_norm, self.embed_dim, layer_scale=self.layer_scale, norm_eps=self.norm_eps)
        return Block(attention=residual(attention), mlp=residual(PrefixOnly(self.mlp())))

    def mlp(self) -> MLP:
        return MLP(self.embed_dim, int(self.embed_dim * self.mlp_ratio), dropout=self.dropout)


XXS: dict[str, Any] = {"embed_dim": 192, "num_heads": 4}
M: dict[str, Any] = {"embed_dim": 768, "num_heads": 16, "layer_scale": 1e-6}

VARIANTS = {
    "cait_xxs24_224": CaiTConfig(**XXS),
    "cait_xxs24_384": CaiTConfig(image_size=384, **XXS),
    "cait_xxs36_224": CaiTConfig(depth=36, **XXS),
    "cait_xxs36_384": CaiTConfig(image_size=384, depth=36, **XXS),
    "cait_xs24_384": CaiTConfig(image_size=384, embed_dim=288, num_heads=6),
    "cait_s24_224": CaiTConfig(),
    "cait_s24_384": CaiTConfig(image_size=384),
    "cait_s36_384": CaiTConfig(image_size=384, depth=36, layer_scale=1e-6),
    "cait_m36_384": CaiTConfig(image_size=384, depth=36, **M),
    "cait_m48_448": CaiTConfig(image_size=448, depth=48, **M),
}
