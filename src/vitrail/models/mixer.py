"""MLP-Mixer (Tolstikhin et al., 2021, "MLP-Mixer: an all-MLP architecture for vision").

ViT with an MLP along the tokens instead of attention.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from ..nn import (
    MLP,
    Block,
    Embedding,
    Encoder,
    Head,
    MeanPool,
    PatchEmbed,
    TokenMLP,
    VisionModel,
    init_lecun,
    init_zero,
    linear_rates,
)
from .fields import ClassifierFields, Size, pair
from .parts import classifier, pre_norm


@dataclass(frozen=True, kw_only=True, slots=True)
class MixerConfig(ClassifierFields):
    """MLP-Mixer: patches, and blocks of two MLPs.

    Attributes:
        image_size: fixed, since the MLP along the tokens has weights for each position; other images must be resized to
        it.
        token_ratio: hidden width of the MLP along the tokens, in units of `embed_dim`.
        mlp_ratio: hidden width of the MLP along the channels, in units of `embed_dim`.
        other fields: as in `ViTConfig`.
    """

    patch_size: Size = 16
    embed_dim: int = 768
    depth: int = 12
    token_ratio: float = 0.5
    mlp_ratio: float = 4.0
    drop_path: float = 0.0
    dropout: float = 0.0
    norm_eps: float = 1e-6
    pad: bool = False

    def build(self) -> VisionModel["MixerConfig"]:
        dim = self.embed_dim
        patches = PatchEmbed(self.in_channels, dim, pair(self.patch_size), pad=self.pad)
        grid = patches.grid(pair(self.image_size))
        model = VisionModel(
            embed=Embedding(patches),
            encoder=Encoder(
                [self.block(grid, rate) for rate in linear_rates(self.drop_path, self.depth)],
                norm=nn.LayerNorm(dim, eps=self.norm_eps),
            ),
            head=Head(MeanPool(), classifier(dim, self.num_classes)),
            config=self,
        ).apply(init_lecun)
        model.head.apply(init_zero)
        return model

    @property
    def equal_blocks(self) -> int:
        return 0 if self.drop_path else self.depth

    def block(self, grid: tuple[int, int], drop_path: float) -> Block:
        dim = self.embed_dim
        residual = partial(pre_norm, dim, drop_path=drop_path, norm_eps=self.norm_eps)
        return Block(
            tokens=residual(TokenMLP(grid, int(dim * self.token_ratio), dropout=self.dropout)),
            mlp=residual(MLP(dim, int(dim * self.mlp_ratio), dropout=self.dropout)),
        )


SMALL: dict[str, Any] = {"embed_dim": 512, "depth": 8}
LARGE: dict[str, Any] = {"embed_dim": 1024, "depth": 24}

VARIANTS = {
    "mixer_s32_224": MixerConfig(patch_size=32, **SMALL),
    "mixer_s16_224": MixerConfig(**SMALL),
    "mixer_b32_224": MixerConfig(patch_size=32),
    "mixer_b16_224": MixerConfig(),
    "mixer_l32_224": MixerConfig(patch_size=32, **LARGE),
    "mixer_l16_224": MixerConfig(**LARGE),
    "mixer_h14_224": MixerConfig(patch_size=14, embed_dim=1280, depth=32),
}

PAPER_NAMES = (
    (r"(mlp-)?mixer", "mixer_b16_224"),
    (r"mixer-(?P<letter>[sblh])-?<patch>", "mixer_{letter}{patch}_224"),
)
