"""CvT (Wu et al., 2021, "CvT: introducing convolutions to vision transformers").

Three stages with overlapping patches. Queries, keys and values are convolved before their projections, keys and values
with stride 2; this replaces positions. The class token is added in the last stage.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from ..nn import (
    MLP,
    Block,
    ConvProjection,
    Embedding,
    Encoder,
    FirstToken,
    Head,
    MultiHeadAttention,
    OverlappingPatchEmbed,
    PrefixTokens,
    Reembed,
    ScaledQueries,
    Stage,
    VisionModel,
    init_vit,
    linear_rates,
)
from .fields import ClassifierFields
from .parts import activation_of, classifier, pre_norm
from .words import Activation


@dataclass(frozen=True, kw_only=True, slots=True)
class CvTConfig(ClassifierFields):
    """CvT: three stages on grids of a 4th, an 8th and a 16th of the image's sides.

    Attributes:
        embed_dims, depths, num_heads: width, blocks and heads of each stage.
        activation: activation of the MLPs: "gelu" (transformers), or "quick_gelu", as in the training of the released
        weights.
        drop_path: rate of stochastic depth in the last block; it grows from 0 in the last stage, and is 0 before it.
        other fields: as in `ViTConfig`.
    """

    embed_dims: tuple[int, ...] = (64, 192, 384)
    depths: tuple[int, ...] = (1, 2, 10)
    num_heads: tuple[int, ...] = (1, 3, 6)
    mlp_ratio: float = 4.0
    drop_path: float = 0.0
    dropout: float = 0.0
    norm_eps: float = 1e-5
    final_norm: bool = True
    activation: Activation = "gelu"

    def build(self) -> VisionModel["CvTConfig"]:
        dim, last = self.embed_dims[-1], len(self.depths) - 1
        embeds: list[nn.Module] = [self.patches(index) for index in range(last)]
        embeds.append(Embedding(self.patches(last), prefix=PrefixTokens(dim)))
        reduces = [None, *map(Reembed, embeds[1:])]
        model = VisionModel(
            embed=embeds[0],
            encoder=Encoder(
                [Stage(self.blocks(index), reduce=reduce) for index, reduce in enumerate(reduces)],
                norm=nn.LayerNorm(dim, eps=self.norm_eps) if self.final_norm else None,
            ),
            head=Head(FirstToken(), classifier(dim, self.num_classes)),
            config=self,
        )
        return model.apply(init_vit)

    def patches(self, index: int) -> OverlappingPatchEmbed:
        """Patch embedding of a stage: 7×7 pixels with stride 4; in later stages 3×3 tokens with stride 2."""
        dim = self.embed_dims[index]
        if index == 0:
            # Padded by 2, not by half the patch: at 224 pixels the grid has the same size, but another offset.
            return OverlappingPatchEmbed(
                self.in_channels, dim, patch_size=7, stride=4, padding=2, norm_eps=self.norm_eps
            )
        return OverlappingPatchEmbed(self.embed_dims[index - 1], dim, patch_size=3, stride=2, norm_eps=self.norm_eps)

    def blocks(self, index: int) -> list[Block]:
        dim, heads, depth = self.embed_dims[index], self.num_heads[index], self.depths[index]
        highest = self.drop_path if index == len(self.depths) - 1 else 0.0

        def block(rate: float) -> Block:
            attention = MultiHeadAttention(
                dim,
                heads,
                qkv=ConvProjection(dim, heads),
                # The published models divide scores by the root of the full width, not of a head's width.
                refine=ScaledQueries(heads**-0.5),
                dropout=self.dropout,
            )
            activation = activation_of(self.activation)
            mlp = MLP(dim, int(dim * self.mlp_ratio), activation=activation, dropout=self.dropout)
            residual = partial(pre_norm, dim, drop_path=rate, norm_eps=self.norm_eps)
            return Block(attention=residual(attention), mlp=residual(mlp))

        return [block(rate) for rate in linear_rates(highest, depth)]


CVT_21: dict[str, Any] = {"depths": (1, 4, 16)}
W24: dict[str, Any] = {"embed_dims": (192, 768, 1024), "depths": (2, 2, 20), "num_heads": (3, 12, 16)}

VARIANTS = {
    "cvt_13_224": CvTConfig(),
    "cvt_13_384": CvTConfig(image_size=384),
    "cvt_21_224": CvTConfig(**CVT_21),
    "cvt_21_384": CvTConfig(image_size=384, **CVT_21),
    "cvt_w24_384": CvTConfig(image_size=384, **W24),
}

PAPER_NAMES = (
    (r"cvt-<number>(-<image>)?", "cvt_{number}_{image:224}"),
    (r"cvt-w24(-384)?", "cvt_w24_384"),
)
