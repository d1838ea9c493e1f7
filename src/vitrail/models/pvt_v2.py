"""PVT v2 (Wang et al., 2022, "PVT v2: improved baselines with Pyramid Vision Transformer").

Four stages with overlapping patches, with keys and values for squares of tokens, and with depthwise convolutions in the
MLPs, which replace positions. SegFormer's encoder, MiT, is the same with narrower MLPs.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from ..nn import (
    Block,
    ConvMLP,
    Encoder,
    Head,
    MeanPool,
    MultiHeadAttention,
    OverlappingPatchEmbed,
    PooledReduction,
    ReducedProjection,
    Reembed,
    Stage,
    StridedReduction,
    VisionModel,
    init_convolutions,
    init_vit,
)
from .parts import classifier, pre_norm, stage_rates
from .pvt import PVTFields


@dataclass(frozen=True, kw_only=True, slots=True)
class PVTv2Config(PVTFields):
    """PVT v2: overlapping patches, and convolutions in the MLPs.

    Attributes:
        pooled: pool keys and values to 7×7 regions of any size instead ("linear attention", section 3.1).
    """

    pooled: bool = False

    def build(self) -> VisionModel["PVTv2Config"]:
        model = VisionModel(
            embed=mix_embed(self),
            encoder=Encoder(mix_stages(self, pooled=self.pooled)),
            head=Head(MeanPool(), classifier(self.embed_dims[-1], self.num_classes)),
            config=self,
        )
        return model.apply(init_vit).apply(init_convolutions)


def mix_embed(config: PVTFields) -> OverlappingPatchEmbed:
    """Patch embedding of the first stage: 7×7 pixels with stride 4."""
    return OverlappingPatchEmbed(
        config.in_channels, config.embed_dims[0], patch_size=7, stride=4, norm_eps=config.conv_norm_eps
    )


def mix_stages(config: PVTFields, *, pooled: bool = False) -> list[Stage]:
    """Stages of PVT v2 and MiT; every later stage embeds the map before it, 3×3 tokens with stride 2."""
    stages = []
    for index, rates in enumerate(stage_rates(config.drop_path, config.depths)):
        dim = config.embed_dims[index]
        blocks = [_block(config, index, rate, pooled=pooled) for rate in rates]
        stages.append(Stage(blocks, reduce=_patches(config, index), norm=nn.LayerNorm(dim, eps=config.norm_eps)))
    return stages


def _patches(config: PVTFields, index: int) -> Reembed | None:
    if index == 0:
        return None
    before, dim = config.embed_dims[index - 1 : index + 1]
    return Reembed(OverlappingPatchEmbed(before, dim, patch_size=3, stride=2, norm_eps=config.conv_norm_eps))


def _block(config: PVTFields, index: int, rate: float, *, pooled: bool) -> Block:
    dim, heads = config.embed_dims[index], config.num_heads[index]
    qkv = ReducedProjection(dim, heads, reduce=_reduction(config, index, pooled=pooled))
    hidden = int(dim * config.mlp_ratios[index])
    before = nn.ReLU if pooled else nn.Identity
    residual = partial(pre_norm, dim, drop_path=rate, norm_eps=config.norm_eps)
    return Block(
        attention=residual(MultiHeadAttention(dim, heads, qkv=qkv, dropout=config.dropout)),
        mlp=residual(ConvMLP(dim, hidden, before=before, dropout=config.dropout)),
    )


def _reduction(config: PVTFields, index: int, *, pooled: bool) -> nn.Module | None:
    dim, ratio = config.embed_dims[index], config.reductions[index]
    if pooled:
        return PooledReduction(dim, norm_eps=config.conv_norm_eps)
    return StridedReduction(dim, ratio, norm_eps=config.conv_norm_eps) if ratio > 1 else None


B0: dict[str, Any] = {"embed_dims": (32, 64, 160, 256)}
B2: dict[str, Any] = {"depths": (3, 4, 6, 3)}
B3: dict[str, Any] = {"depths": (3, 4, 18, 3)}
B4: dict[str, Any] = {"depths": (3, 8, 27, 3)}
B5: dict[str, Any] = {"depths": (3, 6, 40, 3), "mlp_ratios": (4.0, 4.0, 4.0, 4.0)}

VARIANTS = {
    "pvt_v2_b0": PVTv2Config(**B0),
    "pvt_v2_b1": PVTv2Config(),
    "pvt_v2_b2": PVTv2Config(**B2),
    "pvt_v2_b2_li": PVTv2Config(pooled=True, **B2),
    "pvt_v2_b3": PVTv2Config(**B3),
    "pvt_v2_b4": PVTv2Config(**B4),
    "pvt_v2_b5": PVTv2Config(**B5),
}

PAPER_NAMES = (
    (r"pvt-?v2-b<number>", "pvt_v2_b{number}"),
    (r"pvt-?v2-b2-li(near)?", "pvt_v2_b2_li"),
)
