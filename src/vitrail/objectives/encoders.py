"""Encoders that objectives without labels train: configs without classes, and layers that read their tokens."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..checkpoint.build import blueprint, output_tokens
from ..checkpoint.document import Stored
from ..errors import VitrailError
from ..models.fields import ModelConfig, pair
from ..models.registry import override
from ..nn import BaseVisionModel, Embedding, Encoder, Tokens, VisionModel
from ..task_spec import EMBEDDING
from .objective import ObjectiveConfig


@dataclass(frozen=True, kw_only=True)
class EncoderObjectiveConfig(ObjectiveConfig):
    """Base class of objectives without labels that train an encoder without classes, see `encoder_config`."""

    def model_config(self, config: ModelConfig) -> ModelConfig:
        return encoder_config(config, self.name)


def encoder_config(config: ModelConfig, objective: str) -> ModelConfig:
    """Config of a model without its classes, decoder or projection head: its output is the embedding of an image.

    Raises:
        VitrailError: the variant is not a classifier, so that it has no such model.
    """
    found = config.fine_tuned() or config
    if not found.can_classify or not isinstance(config.image_size, int | tuple) or len(found.pixels_shape) != 3:
        raise VitrailError(
            f"objective {objective} trains the encoder of an image classifier, and "
            f"{type(config).__name__.removesuffix('Config')} is for {config.task.name}: choose another of "
            "`vitrail models`"
        )
    return override(found, {"num_classes": 0, "task": EMBEDDING}, f"objective {objective}")


def require_unchanged(stored: Stored, part: str) -> None:
    """Raise VitrailError if a checkpoint's model was changed after it was built.

    Args:
        part: what is to be put on its encoder.
    """
    if stored.rewrites:
        names = ", ".join(type(change).__name__ for change in stored.rewrites)
        raise VitrailError(
            f"these weights are of a model that was changed after it was built ({names}), and {part} needs the model "
            "as it was built: `vitrail convert` merges low-rank updates"
        )


def embedding_dim(config: ModelConfig) -> int:
    """Width of the output of a model without classes."""
    with torch.no_grad():
        output: Tensor = blueprint(config).eval()(*config.example_inputs(device="meta"))
    return output.shape[1]


def small_vit(side: int) -> tuple[str, dict[str, Any], int]:
    """Variant, overrides and image size for images of this shorter side: a tiny ViT with about 64 patches."""
    size = next((size for least, size in ((90, 128), (44, 64), (20, 32)) if side > least), 16)
    return "vit_tiny_patch16_224", {"patch_size": size // 8}, size


def tiling_hybrid(side: int) -> tuple[str, dict[str, Any], int] | None:
    """Default model of an objective whose cells must tile the image: None, the default for classifiers, or in place of
    the whitened hybrid, whose 7×7 cells do not tile 32 pixels, the compact one."""
    return ("compact_small_32", {}, 32) if 20 < side <= 44 else None


class TokenReader(nn.Module):
    """Norm of the encoder's patch tokens, if the encoder has none after its blocks: Tokens -> (B, N, D).

    Args:
        model: a model whose features are one sequence with a grid of rows and columns.

    Attributes:
        dim: width D.
        cell: (height, width) in pixels of a cell of the grid.
    """

    def __init__(self, model: BaseVisionModel[ModelConfig], objective: str) -> None:
        super().__init__()
        tokens = output_tokens(model.config)
        if tokens.lengths or len(tokens.grid) != 2 or not isinstance(model, VisionModel):
            raise VitrailError(
                f"objective {objective} needs a token for each cell of a grid, and "
                f"{type(model.config).__name__.removesuffix('Config')} has none: choose another of `vitrail models`"
            )
        self.dim, self.cell = tokens.x.shape[2], cell_of(model.config, tokens.grid, objective)
        normed = not isinstance(model.encoder, Encoder) or not isinstance(model.encoder.norm, nn.Identity)
        self.norm = nn.Identity() if normed else nn.LayerNorm(self.dim)

    def forward(self, tokens: Tokens) -> Float[Tensor, "B N D"]:
        return self.norm(tokens.patches)


class PixelDecoder(nn.Module):
    """Linear layer from each token to the pixels of its cell: Tokens -> (B, C, H, W).

    Xie et al. (2022), "SimMIM", section 3.4.
    """

    def __init__(self, model: BaseVisionModel[ModelConfig], objective: str) -> None:
        super().__init__()
        self.read = TokenReader(model, objective)
        self.shape = (model.config.in_channels, *self.read.cell)
        channels, rows, columns = self.shape
        self.predict = nn.Linear(self.read.dim, channels * rows * columns)

    def forward(self, tokens: Tokens) -> Float[Tensor, "B C H W"]:
        cells = self.predict(self.read(tokens)).unflatten(2, self.shape).unflatten(1, tokens.grid)
        return cells.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)  # (B, C, rows, P_h, columns, P_w)


def embedding_of(model: VisionModel[ModelConfig]) -> Embedding:
    """The embedding of a model that `patches_of` accepts."""
    embed = model.embed
    assert isinstance(embed, Embedding), type(embed)
    return embed


class Patches(NamedTuple):
    """Width of a patch embedding, and (height, width) in pixels of its patches."""

    dim: int
    cell: tuple[int, int]


def patches_of(model: BaseVisionModel[ModelConfig], objective: str) -> Patches:
    """Patches of a model in whose place a mask token can be put; see `nn.masking.embed_hidden`.

    Raises:
        VitrailError: the embedding is not patches followed by prefix tokens and positions.
    """
    if not isinstance(model, VisionModel) or not isinstance(model.embed, Embedding):
        raise VitrailError(
            f"objective {objective} puts a mask token in the place of patches, and the embedding of "
            f"{type(model.config).__name__.removesuffix('Config')} has no such place: choose a vit_*, beit_*, swin_* "
            "or compact_* variant of `vitrail models`, or objective inpaint, which hides pixels"
        )
    copy: Any = blueprint(model.config)
    with torch.no_grad():
        tokens: Tokens = copy.eval().embed.patches(model.config.example_inputs(device="meta")[0])
    return Patches(tokens.x.shape[2], cell_of(model.config, tokens.grid, objective))


def cell_of(config: ModelConfig, grid: tuple[int, ...], objective: str) -> tuple[int, int]:
    """(height, width) in pixels of a cell of a model's grid.

    Raises:
        VitrailError: the cells do not tile the image.
    """
    (height, width), (rows, columns) = pair(config.image_size), grid
    if height % rows or width % columns:
        raise VitrailError(
            f"objective {objective} works on the pixels of each cell, and {rows}×{columns} cells do not tile an image "
            f"of {height}×{width}: choose another --image-size, such as {_tiled(height, rows)}×{_tiled(width, columns)}"
        )
    return height // rows, width // columns


def _tiled(side: int, cells: int) -> int:
    """The largest side up to this one that the cells tile, if there are no fewer of them."""
    return side // cells * cells
