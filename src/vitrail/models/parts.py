"""What several families build in the same way."""

from typing import Protocol

from torch import nn

from ..nn.attention import MultiHeadAttention
from ..nn.encoder import Block, Encoder
from ..nn.mlp import MLP
from ..nn.residual import LayerScale, Residual, linear_rates

Size = int | tuple[int, int]
"""A square side or (height, width), in pixels."""


def pair(size: Size) -> tuple[int, int]:
    """(height, width) of a size."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


class EncoderFields(Protocol):
    """What a config says of its encoder."""

    @property
    def embed_dim(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def num_heads(self) -> int: ...
    @property
    def mlp_ratio(self) -> float: ...
    @property
    def drop_path(self) -> float: ...
    @property
    def dropout(self) -> float: ...
    @property
    def norm_eps(self) -> float: ...


def vit_encoder(config: EncoderFields, *, layer_scale: float | None = None) -> Encoder:
    """ViT's encoder: `depth` equal blocks, whose drop path grows linearly, and a norm."""
    blocks = [
        vit_block(
            config.embed_dim,
            config.num_heads,
            config.mlp_ratio,
            drop_path=rate,
            dropout=config.dropout,
            layer_scale=layer_scale,
            norm_eps=config.norm_eps,
        )
        for rate in linear_rates(config.drop_path, config.depth)
    ]
    return Encoder(blocks, norm=nn.LayerNorm(config.embed_dim, eps=config.norm_eps))


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
