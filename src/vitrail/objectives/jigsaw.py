"""Jigsaw puzzle: pre-training without labels by finding the places of shuffled pieces of an image."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..checkpoint.build import output_tokens
from ..data.loader import Batch
from ..data.preprocess import Preprocess
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel, VisionModel
from .encoders import EncoderObjectiveConfig, TokenReader, tiling_hybrid
from .objective import Labels, Loss, Moment, Objective, Trivial
from .reconstructions import MOST_DRAWN, reconstruction_section


class Jigsaw(Objective):
    """Cross entropy of the place of each piece of a shuffled image.

    The puzzle of Noroozi and Favaro (2016), "Unsupervised learning of visual representations by solving jigsaw
    puzzles". As in Chen et al. (2023), "Jigsaw-ViT", the place of each piece is predicted, from the mean of the tokens
    that lie in it, instead of the number of one of a fixed list of permutations. Pieces are cut with a random gap, so
    that their edges do not continue one another (section 3.3 of the former).

    Args:
        model: an encoder without classes, whose grid divides into the pieces.
        pieces: pieces along each side.
        gap: fraction of a piece's side that is cut off; what is left is enlarged to the piece.
    """

    model: VisionModel[ModelConfig]

    def __init__(self, model: BaseVisionModel[ModelConfig], *, pieces: int | None, gap: float) -> None:
        super().__init__(model)
        self.pieces = _pieces(model.config, pieces)
        self.gap = gap
        self.read = TokenReader(model, "jigsaw")
        self.classify = nn.Linear(self.read.dim, self.pieces**2)

    def forward(self, batch: Batch, moment: Moment) -> Loss:
        shuffled, places = self.shuffle(batch.pixels)
        logits = self.logits(shuffled).float().flatten(0, 1)
        accuracy = (logits.argmax(dim=1) == places.flatten()).float().mean()
        return Loss(F.cross_entropy(logits, places.flatten()), {"accuracy": accuracy})

    def trivial(self, batch: Batch) -> Trivial:
        return Trivial("guessing", torch.tensor(math.log(self.pieces**2)))

    def shuffle(self, pixels: Float[Tensor, "B C H W"]) -> tuple[Float[Tensor, "B C H W"], Int[Tensor, "B P"]]:
        """Images with their pieces in a random order, and the places where the pieces were."""
        places = torch.rand(len(pixels), self.pieces**2, device=pixels.device).argsort(dim=1)
        cut = _cut(pixels, self.pieces)  # (B, P, C, h, w)
        cut = cut.gather(1, places[:, :, None, None, None].expand_as(cut))
        return _joined(self._with_gaps(cut), self.pieces), places

    def logits(self, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B P P"]:
        """Logits of the place of each piece, from the mean over its tokens."""
        tokens = self.model.forward_features(pixels)
        rows, columns = (side // self.pieces for side in tokens.grid)
        grid = self.read(tokens).unflatten(1, (self.pieces, rows, self.pieces, columns))
        return self.classify(grid.mean(dim=(2, 4)).flatten(1, 2))

    def _with_gaps(self, cut: Float[Tensor, "B P C h w"]) -> Float[Tensor, "B P C h w"]:
        """A random part of each piece, enlarged to its size."""
        if not self.gap:
            return cut
        flat, keep = cut.flatten(0, 1), 1 - self.gap
        shift = torch.empty(len(flat), 2, 1, device=cut.device).uniform_(-self.gap, self.gap)
        scale = torch.eye(2, device=cut.device).mul(keep).expand(len(flat), 2, 2)
        grid = F.affine_grid(torch.cat([scale, shift], dim=2), list(flat.shape), align_corners=False)
        return F.grid_sample(flat, grid, padding_mode="border", align_corners=False).view_as(cut)

    @torch.no_grad()
    def report(self, batch: Batch, preprocess: Preprocess) -> list[str]:
        """A section with validation images, the puzzle, and the pieces where the model puts them."""
        self.eval()
        pixels = batch.pixels[:MOST_DRAWN]
        shuffled, _ = self.shuffle(pixels)
        found = self.logits(shuffled).argmax(dim=2)
        cut = _cut(shuffled, self.pieces)
        solved = torch.zeros_like(cut).scatter(1, found[:, :, None, None, None].expand_as(cut), cut)
        columns = [("image", pixels), ("puzzle", shuffled), ("solution", _joined(solved, self.pieces))]
        return [reconstruction_section(columns, preprocess, "Puzzles")]


def _cut(pixels: Float[Tensor, "B C H W"], pieces: int) -> Float[Tensor, "B P C h w"]:
    cut = pixels.unflatten(3, (pieces, -1)).unflatten(2, (pieces, -1))  # (B, C, rows, h, columns, w)
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def _joined(cut: Float[Tensor, "B P C h w"], pieces: int) -> Float[Tensor, "B C H W"]:
    return cut.unflatten(1, (pieces, pieces)).permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def _pieces(config: ModelConfig, given: int | None) -> int:
    """Pieces along each side: those given, or the first of 4, 3, 2 that divides the model's grid.

    Raises:
        VitrailError: they do not divide it.
    """
    grid = output_tokens(config).grid
    fitting = [count for count in ((given,) if given else (4, 3, 2)) if not any(side % count for side in grid)]
    if not fitting:
        sides = "×".join(map(str, grid))
        raise VitrailError(
            f"objective jigsaw cuts the model's grid of {sides} cells into {given or '4, 3 or 2'} pieces along each "
            "side, which do not divide it: choose another objective.pieces, --image-size or --model"
        )
    return fitting[0]


@dataclass(frozen=True, kw_only=True)
class JigsawConfig(EncoderObjectiveConfig):
    """Find the places of the shuffled pieces of an image (Noroozi and Favaro, 2016; Chen et al., 2023)."""

    name: ClassVar[str] = "jigsaw"
    any_size: ClassVar[bool] = False

    pieces: int | None = None
    """Pieces along each side; None: the first of 4, 3 and 2 that divides the model's grid."""
    gap: float = 0.15
    """Fraction of a piece's side that is cut off at random, so that edges do not continue one another."""

    def __post_init__(self) -> None:
        if self.pieces is not None and not 2 <= self.pieces <= 32:
            raise VitrailError(f"objective.pieces is {self.pieces}: it needs to be from 2 to 32")
        if not 0 <= self.gap <= 0.5:
            raise VitrailError(f"objective.gap is {self.gap}: it is a fraction, from 0 to 0.5")

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> Jigsaw:
        return Jigsaw(model, pieces=self.pieces, gap=self.gap)

    def default_model(self, side: int) -> tuple[str, dict[str, Any], int] | None:
        return tiling_hybrid(side)
