"""Swin Transformer V2 (Liu et al., 2022, "Swin Transformer V2: scaling up capacity and resolution").

Swin with three changes for large models and windows: norms after the branches, cosine attention, and a small MLP in
place of the tables of relative positions.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn

from ..nn import (
    MLP,
    Block,
    ContinuousRelativeBias,
    CosineScores,
    JointProjectionWithoutKeyBias,
    LocalAttention,
    MultiHeadAttention,
    NormedPatchMerging,
    PerToken,
    Residual,
)
from .fields import Size
from .swin import BASE, LARGE, Cells, WindowPyramid

# Scores reach 100 and more, so this does not act as minus infinity; the published weights were trained with it.
_APART = -100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SwinV2Config(WindowPyramid):
    """Swin V2: norms after the branches, and an MLP of relative positions in each block.

    Attributes:
        norm_every: every so many blocks of a stage, the main branch is normed too (section 4.1); 0: never.
        pretrained_window_sizes: for each stage, window size at which the weights were trained first, by which offsets
        are scaled; 0: the stage's own window.
    """

    image_size: Size = 256
    window_size: int = 8
    pretrained_window_sizes: tuple[int, ...] = (0, 0, 0, 0)
    norm_every: int = 0

    def block(self, stage: int, number: int, dim: int, window: Cells, shift: Cells, drop_path: float) -> Block:
        heads, trained = self.num_heads[stage], self.pretrained_window_sizes[stage]
        inner = MultiHeadAttention(
            dim,
            heads,
            qkv=JointProjectionWithoutKeyBias(dim, heads),
            refine=CosineScores(heads),
            bias=ContinuousRelativeBias((trained, trained) if trained else window, heads),
            dropout=self.dropout,
        )
        attention = LocalAttention(inner, window, shift, apart=_APART, pad_first=self.pad_first)
        mlp = MLP(dim, int(dim * self.mlp_ratio), dropout=self.dropout)
        parts: dict[str, nn.Module] = {
            "attention": post_norm(dim, attention, drop_path=drop_path, norm_eps=self.norm_eps),
            "mlp": post_norm(dim, mlp, drop_path=drop_path, norm_eps=self.norm_eps),
        }
        if self.norm_every and (number + 1) % self.norm_every == 0:
            parts["norm"] = PerToken(nn.LayerNorm(dim, eps=self.norm_eps))
        return Block(**parts)

    def merge(self, dim: int) -> NormedPatchMerging:
        return NormedPatchMerging(dim, 2 * dim, norm_eps=self.norm_eps)


def post_norm(dim: int, branch: nn.Module, *, drop_path: float, norm_eps: float) -> Residual:
    """x + norm(branch(x)) (section 3.1); the norm starts at zero, so every block starts as the identity."""
    norm = nn.LayerNorm(dim, eps=norm_eps)
    nn.init.zeros_(norm.weight)
    return Residual(nn.Identity(), branch, scale=norm, drop_path=drop_path)


SMALL: dict[str, Any] = {"depths": (2, 2, 18, 2)}
HUGE: dict[str, Any] = {"embed_dim": 352, "depths": (2, 2, 18, 2), "num_heads": (11, 22, 44, 88), "norm_every": 6}
GIANT: dict[str, Any] = {"embed_dim": 512, "depths": (2, 2, 42, 4), "num_heads": (16, 32, 64, 128), "norm_every": 6}
AT_192: dict[str, Any] = {"image_size": 192, "window_size": 12}
FROM_192: dict[str, Any] = {"pretrained_window_sizes": (12, 12, 12, 6)}
TO_256: dict[str, Any] = {"window_size": 16, **FROM_192}
TO_384: dict[str, Any] = {"image_size": 384, "window_size": 24, **FROM_192}

VARIANTS = {
    "swinv2_tiny_window8_256": SwinV2Config(),
    "swinv2_tiny_window16_256": SwinV2Config(window_size=16),
    "swinv2_small_window8_256": SwinV2Config(**SMALL),
    "swinv2_small_window16_256": SwinV2Config(window_size=16, **SMALL),
    "swinv2_base_window8_256": SwinV2Config(**BASE),
    "swinv2_base_window16_256": SwinV2Config(window_size=16, **BASE),
    "swinv2_base_window12_192": SwinV2Config(**BASE, **AT_192),
    "swinv2_base_window12to16_192to256": SwinV2Config(**BASE, **TO_256),
    "swinv2_base_window12to24_192to384": SwinV2Config(**BASE, **TO_384),
    "swinv2_large_window12_192": SwinV2Config(**LARGE, **AT_192),
    "swinv2_large_window12to16_192to256": SwinV2Config(**LARGE, **TO_256),
    "swinv2_large_window12to24_192to384": SwinV2Config(**LARGE, **TO_384),
    "swinv2_huge_window12_192": SwinV2Config(**HUGE, **AT_192),
    "swinv2_giant_window12_192": SwinV2Config(**GIANT, **AT_192),
}

PAPER_NAMES = (
    (r"swin-?v2-(?P<size>t|s|b|tiny|small|base)(-256)?", "swinv2_{size}_window8_256"),
    (r"swin-?v2-<size>(-192)?", "swinv2_{size}_window12_192"),
)
