"""ViT with content-adaptive patches: large ones in plain regions of an image, small ones in detailed regions.

After Ronen et al. (2023), "Vision transformers with mixed-resolution tokenization", and Choudhury et al. (2025),
"Accelerating vision transformers with adaptive patch sizes"; images are packed as in NaViT (Dehghani et al., 2023).
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from ..nn import (
    MLP,
    AdaptivePatchEmbed,
    Block,
    Embedding,
    Encoder,
    FirstToken,
    Head,
    LearnedPositions,
    PackedAttention,
    PatchEmbed,
    PrefixTokens,
    VisionModel,
    entropy,
    init_vit,
    variance,
)
from .fields import ClassifierFields, pair, shared_fields
from .parts import classifier, pre_norm
from .vit import SMALL, TINY, ViTConfig
from .words import Interpolation

DETAILS = {"variance": variance, "entropy": entropy}


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptiveViTConfig(ClassifierFields):
    """A ViT with a class token on packed patches of several sizes.

    Attributes:
        patch_size: side of the smallest patches.
        levels: number of patch sizes, each twice the one before.
        threshold: a cell with less detail than this is not split; with 0 all patches have the smallest size.
        detail: "variance" of the normalised pixels, or "entropy" of the brightness, in bits (of 5).
        other fields: as in `ViTConfig`.
    """

    patch_size: int = 16
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    dropout: float = 0.0
    norm_eps: float = 1e-6
    levels: int = 3
    threshold: float = 0.05
    detail: Literal["variance", "entropy"] = "variance"
    pad: bool = False
    position_mode: Interpolation = "bicubic"
    position_antialias: bool = True

    def build(self) -> VisionModel["AdaptiveViTConfig"]:
        dim = self.embed_dim
        patches = PatchEmbed(self.in_channels, dim, pair(self.patch_size), pad=self.pad)
        positions = LearnedPositions(
            patches.grid(pair(self.image_size)), dim, mode=self.position_mode, antialias=self.position_antialias
        )
        adaptive = AdaptivePatchEmbed(
            patches, positions, levels=self.levels, threshold=self.threshold, detail=DETAILS[self.detail]
        )
        model = VisionModel(
            embed=Embedding(adaptive, prefix=PrefixTokens(dim)),
            encoder=Encoder([self.block() for _ in range(self.depth)], norm=nn.LayerNorm(dim, eps=self.norm_eps)),
            head=Head(FirstToken(), classifier(dim, self.num_classes)),
            config=self,
        )
        return model.apply(init_vit)

    @property
    def equal_blocks(self) -> int:
        return self.depth

    def block(self) -> Block:
        dim = self.embed_dim
        attention = PackedAttention(dim, self.num_heads, dropout=self.dropout)
        return Block(
            attention=pre_norm(dim, attention, norm_eps=self.norm_eps),
            mlp=pre_norm(dim, MLP(dim, int(dim * self.mlp_ratio), dropout=self.dropout), norm_eps=self.norm_eps),
        )

    def densest(self) -> ViTConfig:
        """Config of the plain ViT that this one equals if every patch has the smallest size."""
        return ViTConfig(class_position=False, **shared_fields(self, ViTConfig))


def adaptive_from_vit(
    vit: VisionModel[ViTConfig],
    *,
    levels: int = 3,
    threshold: float = 0.05,
    detail: Literal["variance", "entropy"] = "variance",
) -> VisionModel[AdaptiveViTConfig]:
    """An adaptive ViT with the weights of a plain one; its class token takes its position with it.

    Args:
        vit: built by a `ViTConfig` without layer scale.
        levels, threshold, detail: see `AdaptiveViTConfig`.
    """
    shared = shared_fields(vit.config, AdaptiveViTConfig)
    config = AdaptiveViTConfig(**shared, levels=levels, threshold=threshold, detail=detail)
    model, state = config.build(), vit.state_dict()
    table = state.pop("embed.parts.positions.weight")
    if vit.config.class_position:
        state["embed.parts.prefix.weight"] = state["embed.parts.prefix.weight"] + table[:, :1]
        table = table[:, 1:]
    state["embed.patches.positions.weight"] = table
    for part in ("weight", "bias"):
        state[f"embed.patches.patches.project.{part}"] = state.pop(f"embed.patches.project.{part}")
    model.load_state_dict(state | {"embed.patches.size": model.state_dict()["embed.patches.size"]})
    return model


VARIANTS = {
    "adaptive_vit_tiny_patch16_224": AdaptiveViTConfig(**TINY),
    "adaptive_vit_small_patch16_224": AdaptiveViTConfig(**SMALL),
    "adaptive_vit_base_patch16_224": AdaptiveViTConfig(),
}
