"""What configs say and what is asked of them. What several families say alike is stated here, once."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import VitrailError

Size = int | tuple[int, int]
"""A square side or (height, width), in pixels."""


# A slot can come from one base only, so the abstract ones have none of their own; each family's config has them all.


@dataclass(frozen=True, kw_only=True)
class ModelFields(ABC):
    """What a model takes in.

    Attributes:
        image_size: a side or (height, width), in pixels.
        in_channels: C of the pixels.
    """

    __slots__ = ()

    image_size: Size = 224
    in_channels: int = 3

    @abstractmethod
    def build(self) -> nn.Module:
        """The model, with fresh weights."""


@dataclass(frozen=True, kw_only=True)
class EncoderFields(ModelFields):
    """ViT's encoder.

    Attributes:
        embed_dim, depth, num_heads: width of the tokens, number of blocks, and heads of each.
        mlp_ratio: width inside the perceptrons, over `embed_dim`.
        drop_path: rate of stochastic depth in the last block, growing linearly from 0.
        dropout: rate behind every linear layer of the blocks.
        norm_eps: what the layer norms add to the variance (transformers' weights expect 1e-12).
    """

    __slots__ = ()

    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    drop_path: float = 0.0
    dropout: float = 0.0
    norm_eps: float = 1e-6


@dataclass(frozen=True, kw_only=True)
class ViTFields(EncoderFields):
    """ViT's encoder on patches.

    Attributes:
        patch_size: a side or (height, width), in pixels.
        num_classes: how many logits; 0 gives the pooled embedding instead.
        pad: fill pictures up to a multiple of the patch instead of refusing them.
    """

    __slots__ = ()

    patch_size: Size = 16
    num_classes: int = 1000
    pad: bool = False


@dataclass(frozen=True, kw_only=True)
class PositionedFields(EncoderFields):
    """ViT's encoder on tokens whose positions are resampled where the grid is another.

    Attributes:
        position_mode, position_antialias: how positions get to another grid, see `nn.positions.resample_positions`.
    """

    __slots__ = ()

    position_mode: str = "bicubic"
    position_antialias: bool = True


def shared_fields(config: Any, kind: type) -> dict[str, Any]:
    """What a config says of the fields that another kind of config has too."""
    known = {field.name for field in fields(kind)}
    return {field.name: getattr(config, field.name) for field in fields(config) if field.name in known}


def pair(size: Size) -> tuple[int, int]:
    """(height, width) of a size."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def task_of(config: Any) -> str:
    """What a model of this config is for: "classification", unless the config says otherwise."""
    return getattr(config, "task", "classification")


def unnamed_logits(config: Any) -> int:
    """How many logits a model has beside those of its classes: a detector has one for "no object"."""
    return getattr(config, "unnamed_logits", 0)


def densest(config: Any) -> Any:
    """The config whose cost does not hang on what is in a picture: the most that this one can cost."""
    return config.densest() if hasattr(config, "densest") else config


def classes_of(config: Any) -> int:
    """How many classes a model tells apart; 0 for one that is not made for classes."""
    return getattr(config, "num_classes", 0)


def check_classifies(config: Any, name: str) -> None:
    """Raise VitrailError where a model gives no logits of classes."""
    if task_of(config) != "classification":
        raise VitrailError(
            f"{name} is for {task_of(config)}, and this needs a classifier: choose another of `vitrail models`"
        )


def example_inputs(config: Any, batch: int = 1, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
    """Zeros of the shapes that the model's `forward` takes, at the config's own size.

    Pixels (B, C, H, W); (B, C, T, H, W) where the config has `num_frames`; and token numbers (B, L) behind them where
    it has a `context_length`, or a number for each patch (B, N), the noise or the mask that hides it, where it says
    `hides_patches`.
    """
    frames = (config.num_frames,) if hasattr(config, "num_frames") else ()
    pixels = torch.zeros(batch, config.in_channels, *frames, *pair(config.image_size), device=device)
    if getattr(config, "hides_patches", False):
        sides = zip(pair(config.image_size), pair(config.patch_size), strict=True)
        return pixels, torch.zeros(batch, math.prod(math.ceil(side / patch) for side, patch in sides), device=device)
    if not hasattr(config, "context_length"):
        return (pixels,)
    return pixels, torch.zeros(batch, config.context_length, dtype=torch.long, device=device)
