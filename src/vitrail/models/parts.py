"""What several families build in the same way."""

from torch import nn

from ..nn.attention import MultiHeadAttention
from ..nn.encoder import Block
from ..nn.mlp import MLP
from ..nn.residual import LayerScale, Residual

Size = int | tuple[int, int]
"""A square side or (height, width), in pixels."""


def pair(size: Size) -> tuple[int, int]:
    """(height, width) of a size."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def vit_block(
    dim: int,
    num_heads: int,
    mlp_ratio: float,
    *,
    drop_path: float = 0.0,
    dropout: float = 0.0,
    layer_scale: float | None = None,
    norm_eps: float = 1e-6,
) -> Block:
    """The pre-norm block of ViT (Dosovitskiy et al., 2021, equations 2 and 3), with DeiT III's optional layer scale."""

    def residual(branch: nn.Module) -> Residual:
        scale = None if layer_scale is None else LayerScale(dim, layer_scale)
        return Residual(nn.LayerNorm(dim, eps=norm_eps), branch, scale=scale, drop_path=drop_path)

    return Block(
        attention=residual(MultiHeadAttention(dim, num_heads, dropout=dropout)),
        mlp=residual(MLP(dim, int(dim * mlp_ratio), dropout=dropout)),
    )


def classifier(dim: int, num_classes: int) -> nn.Module:
    """A linear layer, or nothing when there are no classes: the model then gives its pooled embedding."""
    return nn.Linear(dim, num_classes) if num_classes else nn.Identity()
