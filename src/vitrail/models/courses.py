"""Constructors with the names that papers and courses use; each builds the model of a family's config."""

from typing import Any

from ..nn import BaseVisionModel, Block, TaskOutputs, VisionModel
from .fields import ModelConfig, Size
from .parts import vit_block
from .registry import create_model
from .simple_vit import SimpleViTConfig
from .universal import TASKS, UniversalViTConfig
from .vit import ViTConfig
from .words import UniversalTask


def VisionTransformer(  # noqa: N802
    *,
    image_size: Size = 224,
    patch_size: Size = 16,
    in_channels: int = 3,
    num_classes: int = 1000,
    embed_dim: int = 768,
    depth: int = 12,
    num_heads: int = 12,
    mlp_ratio: float = 4.0,
    dropout: float = 0.0,
    drop_path: float = 0.0,
) -> VisionModel[ViTConfig]:
    """ViT with a class token (Dosovitskiy et al., 2021), ViT-B/16 by default: pixels (B, C, H, W) -> (B, num_classes).

    See `ViTConfig`, which has more options, and `create_model` for the published sizes.
    """
    return ViTConfig(
        image_size=image_size,
        patch_size=patch_size,
        in_channels=in_channels,
        num_classes=num_classes,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        mlp_ratio=mlp_ratio,
        dropout=dropout,
        drop_path=drop_path,
    ).build()


def SimpleViT(  # noqa: N802
    *,
    image_size: Size = 224,
    patch_size: Size = 16,
    in_channels: int = 3,
    num_classes: int = 1000,
    embed_dim: int = 384,
    depth: int = 12,
    num_heads: int = 6,
    mlp_ratio: float = 4.0,
) -> VisionModel[SimpleViTConfig]:
    """ViT with fixed positions and mean pooling (Beyer et al., 2022), S/16 by default.

    Pixels (B, C, H, W) -> logits (B, num_classes). See `SimpleViTConfig`.
    """
    return SimpleViTConfig(
        image_size=image_size,
        patch_size=patch_size,
        in_channels=in_channels,
        num_classes=num_classes,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        mlp_ratio=mlp_ratio,
    ).build()


def UniversalViT(  # noqa: N802
    *,
    tasks: tuple[UniversalTask, ...] = TASKS,
    image_size: Size = 224,
    patch_size: Size = 16,
    in_channels: int = 3,
    num_classes: int = 1000,
    object_classes: int = 91,
    pixel_classes: int = 150,
    embed_dim: int = 768,
    depth: int = 12,
    num_heads: int = 12,
) -> VisionModel[UniversalViTConfig, TaskOutputs | Any]:
    """ViT with a head for each of `tasks`: pixels (B, C, H, W) -> `TaskOutputs`, or the output of the only task.

    See `UniversalViTConfig`.
    """
    return UniversalViTConfig(
        tasks=tasks,
        image_size=image_size,
        patch_size=patch_size,
        in_channels=in_channels,
        num_classes=num_classes,
        object_classes=object_classes,
        pixel_classes=pixel_classes,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
    ).build()


def TransformerBlock(  # noqa: N802
    dim: int, num_heads: int, *, mlp_ratio: float = 4.0, dropout: float = 0.0, drop_path: float = 0.0
) -> Block:
    """The pre-norm block of ViT: Tokens -> Tokens of width `dim`; `vitrail.nn.Tokens` wraps a tensor (B, N, D)."""
    return vit_block(dim, num_heads, mlp_ratio, dropout=dropout, drop_path=drop_path)


def create_vit_model(
    size: str = "base", *, patch_size: int = 16, image_size: Size = 224, num_classes: int = 1000, in_channels: int = 3
) -> BaseVisionModel[ModelConfig]:
    """A ViT of a published size ("tiny", "small", "base", "large", "huge") with fresh weights.

    Raises:
        VitrailError: unknown size.
    """
    name = f"vit_{size}_patch{patch_size}_224"
    return create_model(name, image_size=image_size, num_classes=num_classes, in_channels=in_channels)
