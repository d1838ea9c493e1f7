"""ConvNeXt (Liu et al., 2022, "A ConvNet for the 2020s") and ConvNeXt V2 (Woo et al., 2023).

Swin's pyramid of stages, with blocks of a depthwise convolution followed by an MLP.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from ..nn import (
    MLP,
    Block,
    ConvMerging,
    DepthwiseConv,
    Embedding,
    Encoder,
    GlobalResponseNorm,
    Head,
    LayerScale,
    MeanPool,
    PatchEmbed,
    PerToken,
    Residual,
    Stage,
    VisionModel,
    init_convnext,
)
from .fields import ClassifierFields, Size, pair
from .parts import classifier, stage_rates


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvNeXtConfig(ClassifierFields):
    """ConvNeXt: four stages, each with half the grid and twice the width of the one before.

    Attributes:
        embed_dim: width of the first stage.
        depths: blocks of each stage.
        kernel_size: side of the depthwise convolutions.
        layer_scale: initial factor of each block, or None for none (V2).
        response_norm: global response normalisation inside the MLPs (V2).
        head_norm_eps: `norm_eps` of the norm after the pooling (transformers' weights expect 1e-12).
        other fields: as in `ViTConfig`.
    """

    patch_size: Size = 4
    embed_dim: int = 96
    depths: tuple[int, ...] = (3, 3, 9, 3)
    kernel_size: int = 7
    mlp_ratio: float = 4.0
    layer_scale: float | None = 1e-6
    response_norm: bool = False
    drop_path: float = 0.0
    dropout: float = 0.0
    norm_eps: float = 1e-6
    head_norm_eps: float = 1e-6
    pad: bool = False

    def build(self) -> VisionModel["ConvNeXtConfig"]:
        dim = self.embed_dim
        patches = PatchEmbed(self.in_channels, dim, pair(self.patch_size), pad=self.pad)
        first = nn.LayerNorm(dim, eps=self.norm_eps)
        stages = [Stage(self.blocks(0, dim))]
        for index in range(1, len(self.depths)):
            reduce = ConvMerging(dim, 2 * dim, norm_eps=self.norm_eps)
            dim *= 2
            stages.append(Stage(self.blocks(index, dim), reduce=reduce))
        norm = nn.LayerNorm(dim, eps=self.head_norm_eps)
        model = VisionModel(
            embed=Embedding(patches, norm=PerToken(first)),
            encoder=Encoder(stages),
            head=Head(MeanPool(), classifier(dim, self.num_classes), norm=norm),
            config=self,
        )
        return model.apply(init_convnext)

    def blocks(self, stage: int, dim: int) -> list[Block]:
        return [self.block(dim, rate) for rate in stage_rates(self.drop_path, self.depths)[stage]]

    def block(self, dim: int, drop_path: float) -> Block:
        hidden = int(dim * self.mlp_ratio)
        norm = GlobalResponseNorm(hidden) if self.response_norm else None
        branch = OrderedDict(
            conv=DepthwiseConv(dim, self.kernel_size),
            norm=PerToken(nn.LayerNorm(dim, eps=self.norm_eps)),
            mlp=MLP(dim, hidden, norm=norm, dropout=self.dropout),
        )
        scale = None if self.layer_scale is None else LayerScale(dim, self.layer_scale)
        return Block(depthwise=Residual(nn.Identity(), nn.Sequential(branch), scale=scale, drop_path=drop_path))


V2 = partial(ConvNeXtConfig, layer_scale=None, response_norm=True)
ATTO: dict[str, Any] = {"embed_dim": 40, "depths": (2, 2, 6, 2)}
FEMTO: dict[str, Any] = {"embed_dim": 48, "depths": (2, 2, 6, 2)}
PICO: dict[str, Any] = {"embed_dim": 64, "depths": (2, 2, 6, 2)}
NANO: dict[str, Any] = {"embed_dim": 80, "depths": (2, 2, 8, 2)}
DEEP = (3, 3, 27, 3)

VARIANTS = {
    "convnext_atto": ConvNeXtConfig(**ATTO),
    "convnext_femto": ConvNeXtConfig(**FEMTO),
    "convnext_pico": ConvNeXtConfig(**PICO),
    "convnext_nano": ConvNeXtConfig(**NANO),
    "convnext_tiny": ConvNeXtConfig(),
    "convnext_small": ConvNeXtConfig(depths=DEEP),
    "convnext_base": ConvNeXtConfig(embed_dim=128, depths=DEEP),
    "convnext_large": ConvNeXtConfig(embed_dim=192, depths=DEEP),
    "convnext_xlarge": ConvNeXtConfig(embed_dim=256, depths=DEEP),
    "convnext_xxlarge": ConvNeXtConfig(embed_dim=384, depths=(3, 4, 30, 3), norm_eps=1e-5, head_norm_eps=1e-5),
    "convnextv2_atto": V2(**ATTO),
    "convnextv2_femto": V2(**FEMTO),
    "convnextv2_pico": V2(**PICO),
    "convnextv2_nano": V2(**NANO),
    "convnextv2_tiny": V2(),
    "convnextv2_small": V2(depths=DEEP),
    "convnextv2_base": V2(embed_dim=128, depths=DEEP),
    "convnextv2_large": V2(embed_dim=192, depths=DEEP),
    "convnextv2_huge": V2(embed_dim=352, depths=DEEP),
}

PAPER_NAMES = (
    (r"convnext", "convnext_tiny"),
    (r"convnext-<size>(-224)?", "convnext_{size}"),
    (r"convnext-?v2-<size>(-224)?", "convnextv2_{size}"),
)
