"""ViT with rotary positions (Heo et al., 2024, "Rotary position embedding for vision transformer").

Queries and keys of the patches are rotated by their place, along fixed axes ("axial") or in learned directions
("mixed"), instead of learned absolute positions, or besides them ("ape").
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from ..nn import (
    MLP,
    Block,
    Embedding,
    Encoder,
    GridRotaryPositions,
    LearnedRotaryPositions,
    PrefixTokens,
    VisionModel,
    init_vit,
    linear_rates,
)
from .fields import BlockFields, PositionedFields, ViTFields
from .parts import learned_positions, patch_embed, pooling_head, vit_attention, vit_residuals
from .vit import LARGE, SMALL
from .words import Pool, Rotation


@dataclass(frozen=True, kw_only=True, slots=True)
class RotaryViTConfig(ViTFields, PositionedFields, BlockFields):
    """ViT with a class token, rotary positions and layer scale.

    Attributes:
        rotation: "axial" or "mixed", see `words.Rotation`.
        rotary_base: base of the angles, see `nn.GridRotaryPositions`; for "mixed", of the initial ones.
        absolute_positions: whether the patches have learned positions too; the class token has none.
        layer_scale: initial factor of each branch.
        pool: input of the classifier, see `words.Pool`; for "mean" the norm is after the mean over the patches.
    """

    rotation: Rotation = "axial"
    rotary_base: float = 100.0
    absolute_positions: bool = False
    layer_scale: float = 1e-5
    pool: Pool = "class"

    def build(self) -> VisionModel["RotaryViTConfig"]:
        dim, patches = self.embed_dim, patch_embed(self)
        parts: dict[str, nn.Module] = {"positions": learned_positions(self, patches)} if self.absolute_positions else {}
        norm, in_head = nn.LayerNorm(dim, eps=self.norm_eps), self.pool == "mean"
        rates = linear_rates(self.drop_path, self.depth)
        model = VisionModel(
            embed=Embedding(patches, **parts, prefix=PrefixTokens(dim)),
            encoder=Encoder([self.block(i, rate) for i, rate in enumerate(rates)], norm=None if in_head else norm),
            head=pooling_head(self, self.pool, norm=norm if in_head else None),
            config=self,
        )
        return model.apply(init_vit)

    def block(self, index: int, drop_path: float) -> Block:
        dim, widths = self.embed_dim, self.block_widths(index)
        heads, width = widths.num_heads, widths.head_dim or dim // widths.num_heads
        refine = self.rotary(heads, width)
        attention = vit_attention(dim, heads, width, refine=refine, dropout=self.dropout)
        mlp = MLP(dim, widths.mlp_dim or int(dim * self.mlp_ratio), dropout=self.dropout)
        return Block(**vit_residuals(self, attention, mlp, drop_path=drop_path, layer_scale=self.layer_scale))

    def rotary(self, heads: int, width: int) -> nn.Module:
        if self.rotation == "mixed":
            return LearnedRotaryPositions(heads, width, base=self.rotary_base)
        return GridRotaryPositions(width, base=self.rotary_base, columns_first=True)


_SIZES: dict[str, dict[str, Any]] = {"small": SMALL, "base": {}, "large": LARGE}
_KINDS: dict[str, dict[str, Any]] = {
    "rope": {},
    "rope_mixed": {"rotation": "mixed", "rotary_base": 10.0},
    "rope_ape": {"absolute_positions": True},
    "rope_mixed_ape": {"rotation": "mixed", "rotary_base": 10.0, "absolute_positions": True},
}

VARIANTS = {
    f"vit_{size}_patch16_{kind}_224": RotaryViTConfig(**sizes, **fields)
    for kind, fields in _KINDS.items()
    for size, sizes in _SIZES.items()
}

PAPER_NAMES = (
    (r"rope-?vit", "vit_base_patch16_rope_224"),
    (r"rope-?vit-<size>(-?<patch>)?", "vit_{size}_patch{patch:16}_rope_224"),
)
