"""Base classes of configs, with the fields that several families share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from ..errors import VitrailError
from ..nn import BaseVisionModel
from ..task_spec import CLASSIFICATION, EMBEDDING, TaskSpec
from ..typed import field_types
from .checks import check_values
from .words import Interpolation

Size = int | tuple[int, int]
"""A square side or (height, width), in pixels."""

RECONSTRUCTION = TaskSpec("reconstruction")
MASKED_MODELLING = TaskSpec("masked-image-modelling")
IMAGE_TEXT = TaskSpec("image-text")


# Only one base of a class may have slots, so the abstract classes have none; each family's config has all.


@dataclass(frozen=True, kw_only=True)
class ModelConfig(ABC):
    """Base class of configs: a frozen description of a model, from which `build` creates it.

    Attributes:
        image_size: side or (height, width) of the images, in pixels.
        in_channels: number of channels C of the pixels.
        task: task of the outputs. If `num_classes` is 0, classification becomes "embedding"; families for other tasks
        have another default.
    """

    __slots__ = ()

    image_size: Size = 224
    in_channels: int = 3
    task: TaskSpec = CLASSIFICATION

    def __post_init__(self) -> None:
        check_values(type(self).__name__, {field.name: getattr(self, field.name) for field in fields(self)})
        object.__setattr__(self, "task", self.resolve_task())

    @abstractmethod
    def build(self) -> "BaseVisionModel[ModelConfig]":
        """The model, with fresh weights."""

    def resolve_task(self) -> TaskSpec:
        """`task`, or the task that the other fields imply if the model cannot do it."""
        return self.task

    def classifier_changes(self) -> Mapping[str, Any]:
        """Fields to change when a config without classes is given some; see `registry.override`."""
        return {}

    @property
    def num_outputs(self) -> int:
        """Number of classes or values in the output; 0 if there are none, as for an embedding."""
        return 0

    def output_fields(self, counts: Mapping[str, int]) -> dict[str, Any]:
        """Fields to change for outputs of these tasks: by default the number of classes.

        Args:
            counts: name of a task -> number of its named outputs; several for a model with a head for each.
        """
        return {"num_classes": next(iter(counts.values()))}

    @property
    def unnamed_outputs(self) -> int:
        """Number of logits besides those of the classes, such as a detector's "no object"."""
        return 0

    @property
    def can_classify(self) -> bool:
        """Whether the model is a classifier, or becomes one if it is given classes."""
        return self.task.name == CLASSIFICATION.name or bool(self.classifier_changes())

    def fine_tuned(self) -> "ModelConfig | None":
        """Config of the classifier with this pre-training model's encoder; None if there is no such model.

        See `fine_tuned_state` for its tensors.
        """
        return None

    def fine_tuned_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Convert this model's tensors to those of the model of `fine_tuned`, without its classifier."""
        return dict(state)

    @property
    def equal_blocks(self) -> int:
        """Number of blocks if all cost the same; 0 if they differ or if the config has no `depth`."""
        return 0

    @property
    def period(self) -> int:
        """Number of blocks after which the kinds of blocks repeat."""
        return 1

    @property
    def pixels_shape(self) -> tuple[int, ...]:
        """Shape of one sample: (C, H, W) of an image, or (C, T, H, W) of a video."""
        return (self.in_channels, *pair(self.image_size))

    @property
    def frames(self) -> int | None:
        """Number of frames of a sample that is a clip; None for images."""
        return self.pixels_shape[1] if len(self.pixels_shape) == 4 else None

    def densest(self) -> "ModelConfig":
        """Config of the most expensive model that this one can amount to, if its cost depends on the images."""
        return self

    def example_inputs(self, batch: int = 1, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
        """Zeros in the shapes of the arguments of `forward`: pixels (B, C, H, W), and others that the family has."""
        return (torch.zeros(batch, *self.pixels_shape, device=device),)


@dataclass(frozen=True, kw_only=True)
class ClassifierFields(ModelConfig):
    """Fields of a model with one output for each class.

    Attributes:
        num_classes: number of logits; with 0 the output is the pooled embedding.
    """

    __slots__ = ()

    num_classes: int = 1000

    def resolve_task(self) -> TaskSpec:
        return EMBEDDING if self.task.name == CLASSIFICATION.name and not self.num_classes else self.task

    def classifier_changes(self) -> Mapping[str, Any]:
        return {"task": CLASSIFICATION} if self.task == EMBEDDING else {}

    @property
    def num_outputs(self) -> int:
        return 0 if self.task == EMBEDDING else self.num_classes


@dataclass(frozen=True, kw_only=True)
class EncoderFields(ModelConfig):
    """Fields of ViT's encoder.

    Attributes:
        embed_dim, depth, num_heads: width of the tokens, number of blocks, and number of heads of each.
        mlp_ratio: hidden width of the MLPs, in units of `embed_dim`.
        drop_path: rate of stochastic depth in the last block, growing linearly from 0.
        dropout: rate of dropout after every linear layer of the blocks.
        norm_eps: epsilon of the layer norms (1e-12 for transformers' weights).
    """

    __slots__ = ()

    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    drop_path: float = 0.0
    dropout: float = 0.0
    norm_eps: float = 1e-6

    @property
    def equal_blocks(self) -> int:
        return 0 if self.drop_path else self.depth


@dataclass(frozen=True, slots=True)
class BlockWidths:
    """Widths of one block: number of heads, width of a head, hidden width of the MLP; None: the family's default."""

    num_heads: int
    head_dim: int | None = None
    mlp_dim: int | None = None


@dataclass(frozen=True, kw_only=True)
class BlockFields(EncoderFields):
    """Fields of an encoder with blocks of different widths, as after pruning; with empty tuples all are equal.

    Attributes:
        block_heads: number of heads of each block, in place of `num_heads`.
        block_head_dims: width of a head in each block, in place of embed_dim / num_heads.
        block_mlp_dims: hidden width of the MLP of each block, in place of embed_dim * mlp_ratio.
    """

    __slots__ = ()

    block_heads: tuple[int, ...] = ()
    block_head_dims: tuple[int, ...] = ()
    block_mlp_dims: tuple[int, ...] = ()

    @property
    def equal_blocks(self) -> int:
        differ = self.drop_path or self.block_heads or self.block_head_dims or self.block_mlp_dims
        return 0 if differ else self.depth

    def block_widths(self, index: int) -> BlockWidths:
        """Widths of block `index`, from 0. If only numbers of heads are given, a head keeps the full model's width."""
        heads, head_dims, mlp_dims = self.block_heads, self.block_head_dims, self.block_mlp_dims
        usual = self.embed_dim // self.num_heads if heads else None
        return BlockWidths(
            num_heads=heads[index] if heads else self.num_heads,
            head_dim=head_dims[index] if head_dims else usual,
            mlp_dim=mlp_dims[index] if mlp_dims else None,
        )


@dataclass(frozen=True, kw_only=True)
class ViTFields(EncoderFields, ClassifierFields):
    """Fields of a ViT: encoder, classes and patches.

    Attributes:
        patch_size: side or (height, width) of the patches, in pixels.
        pad: pad images with zeros to a multiple of the patch size; otherwise other sizes are an error.
    """

    __slots__ = ()

    patch_size: Size = 16
    pad: bool = False


@dataclass(frozen=True, kw_only=True)
class PositionedFields(EncoderFields):
    """Fields of an encoder with positions that are resampled to other grids.

    Attributes:
        position_mode, position_antialias: how positions are resampled, see `nn.positions.resample_positions`.
    """

    __slots__ = ()

    position_mode: Interpolation = "bicubic"
    position_antialias: bool = True


def config_types(kind: type[ModelConfig]) -> dict[str, Any]:
    """Field name -> type of a config.

    What every family has keeps its type, though a class of another package may declare only a square image_size.
    """
    own, shared = field_types(kind), field_types(ModelConfig)
    return {name: shared.get(name, hint) for name, hint in own.items()}


def shared_fields(config: ModelConfig, kind: type[ModelConfig]) -> dict[str, Any]:
    """Values of the fields that another config class has too."""
    known = {field.name for field in fields(kind)}
    return {field.name: getattr(config, field.name) for field in fields(config) if field.name in known}


def pair(size: Size) -> tuple[int, int]:
    """Convert a size to (height, width)."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def cells(image_size: Size, patch_size: Size) -> int:
    """Number of patches of an image, partial patches included."""
    sides = zip(pair(image_size), pair(patch_size), strict=True)
    return math.prod(math.ceil(side / patch) for side, patch in sides)


def check_classifies(config: ModelConfig, name: str) -> None:
    """Raise VitrailError unless a model is a classifier."""
    if config.task.name != CLASSIFICATION.name:
        raise _no_classifier(config, name)


def check_can_classify(config: ModelConfig, name: str) -> None:
    """Raise VitrailError unless a model is a classifier, or becomes one if it is given classes."""
    if not config.can_classify:
        raise _no_classifier(config, name)


def _no_classifier(config: ModelConfig, name: str) -> VitrailError:
    return VitrailError(
        f"{name} is for {config.task.name}, and this needs a classifier: choose another of `vitrail models`"
    )
