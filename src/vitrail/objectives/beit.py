"""BEiT: pre-training without labels by predicting the visual tokens of hidden patches."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..data.loader import Batch
from ..data.preprocess import Preprocess
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel, VisionModel, embed_hidden
from ..nn.masking import patchify, unpatchify
from ..nn.tokens import rows_of
from .encoders import EncoderObjectiveConfig, TokenReader, embedding_of, patches_of, small_vit
from .objective import Labels, Loss, Moment, Objective, require_fraction
from .reconstructions import MOST_DRAWN, reconstruction_section
from .rectangles import random_rectangles
from .tokenizer import PatchTokenizer

_SMALLEST_BLOCK, _NARROWEST, _ROUNDS = 16 / 196, 0.3, 10


class VisualTokens(Objective):
    """Cross entropy of the visual tokens of hidden patches.

    Bao et al. (2022), "BEiT: BERT pre-training of image transformers", section 2. Its tokens come from DALL-E's
    discrete autoencoder, trained on 250 million images; here the tokenizer is a codebook of patches, which k-means fits
    to the training images.

    Args:
        model: an encoder without classes, with one token for each patch.
        codes: number of visual tokens.
        mask_ratio: fraction of the patches that is hidden, in blocks.
    """

    model: VisionModel[ModelConfig]

    def __init__(self, model: BaseVisionModel[ModelConfig], *, codes: int, mask_ratio: float) -> None:
        super().__init__(model)
        patches = patches_of(model, "beit")
        self.read = TokenReader(model, "beit")
        if self.read.cell != patches.cell:
            raise VitrailError(
                "objective beit predicts a token for each patch, and "
                f"{type(model.config).__name__.removesuffix('Config')} merges patches: choose a vit_* or beit_* "
                "variant, or objective simmim"
            )
        self.mask_ratio = mask_ratio
        self.mask_token = nn.Parameter(torch.zeros(1, 1, patches.dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.classify = nn.Linear(self.read.dim, codes)
        nn.init.trunc_normal_(self.classify.weight, std=0.02)
        self.tokenize = PatchTokenizer(codes, model.config.in_channels, patches.cell)

    def prepare(self, batches: Iterator[Tensor]) -> None:
        """Fit the codebook of the tokenizer to the training images."""
        self.tokenize.fit(batches)

    def forward(self, batch: Batch, moment: Moment) -> Loss:
        pixels = batch.pixels
        hidden = self.hidden_patches(pixels)
        targets = self.tokenize(pixels).gather(1, hidden).flatten()
        logits = self.logits(pixels, hidden).float().flatten(0, 1)
        accuracy = (logits.argmax(dim=1) == targets).float().mean()
        return Loss(F.cross_entropy(logits, targets), {"accuracy": accuracy})

    def hidden_patches(self, pixels: Float[Tensor, "B C H W"]) -> Int[Tensor, "B K"]:
        """Indices of the patches to hide, the same number in each image."""
        rows, columns = (side // cell for side, cell in zip(pixels.shape[2:], self.read.cell, strict=True))
        return block_masks(len(pixels), (rows, columns), self.mask_ratio, pixels.device)

    def logits(self, pixels: Float[Tensor, "B C H W"], hidden: Int[Tensor, "B K"]) -> Float[Tensor, "B K V"]:
        """Logits of the visual tokens of the hidden patches."""
        count = math.prod(side // cell for side, cell in zip(pixels.shape[2:], self.read.cell, strict=True))
        mask = torch.zeros(len(pixels), count, dtype=torch.bool, device=pixels.device).scatter(1, hidden, value=True)
        tokens = self.model.encoder(embed_hidden(embedding_of(self.model), pixels, mask, self.mask_token))
        return self.classify(rows_of(self.read(tokens), hidden))

    @torch.no_grad()
    def report(self, batch: Batch, preprocess: Preprocess) -> list[str]:
        """A section with validation images, their visible part, their visual tokens, and the predicted ones."""
        self.eval()
        pixels, cell = batch.pixels[:MOST_DRAWN], self.read.cell
        hidden = self.hidden_patches(pixels)
        codes = self.tokenize(pixels)
        found = codes.scatter(1, hidden, self.logits(pixels, hidden).argmax(dim=2))
        patches = patchify(pixels, cell)
        visible = patches.scatter(1, hidden.unsqueeze(2).expand(-1, -1, patches.shape[2]), 0.0)
        rows, columns = pixels.shape[2] // cell[0], pixels.shape[3] // cell[1]
        drawn = [
            ("visible patches", visible),
            ("visual tokens", self.tokenize.codebook[codes]),
            ("predicted tokens", self.tokenize.codebook[found]),
        ]
        whole = [(name, unpatchify(each, (rows, columns), cell)) for name, each in drawn]
        return [reconstruction_section([("image", pixels), *whole], preprocess)]


def block_masks(count: int, grid: tuple[int, int], ratio: float, device: torch.device) -> Int[Tensor, "B K"]:
    """Indices of `ratio` of the cells of a grid for each of `count` images, which form blocks.

    Algorithm 1 of Bao et al. (2022): blocks of a random size and aspect ratio are added while they fit; the rest, less
    than a block, is drawn at random, so that all images have the same number.
    """
    cells = math.prod(grid)
    wanted, least = max(1, round(ratio * cells)), max(1.0, _SMALLEST_BLOCK * cells)
    mask = torch.zeros(count, *grid, dtype=torch.bool, device=device)
    for _ in range(_ROUNDS):
        room = wanted - mask.sum(dim=(1, 2))
        sizes = least + (room - least).clamp(min=0) * torch.rand(count, device=device)
        added = mask | random_rectangles(sizes / cells, grid, narrowest=_NARROWEST)
        mask = torch.where((added.sum(dim=(1, 2)) <= wanted)[:, None, None], added, mask)
    order = (torch.rand(count, cells, device=device) + mask.flatten(1)).argsort(dim=1, descending=True)
    return order[:, :wanted]


@dataclass(frozen=True, kw_only=True)
class BEiTObjectiveConfig(EncoderObjectiveConfig):
    """Hide blocks of patches, and predict which of a codebook's patches they look like (Bao et al., 2022, "BEiT")."""

    name: ClassVar[str] = "beit"

    mask_ratio: float = 0.4
    """Fraction of the patches that is hidden."""
    codes: int = 512
    """Number of visual tokens, the entries of the codebook."""

    def __post_init__(self) -> None:
        require_fraction("mask_ratio", self.mask_ratio)
        if not 2 <= self.codes <= 65_536:
            raise VitrailError(f"objective.codes is {self.codes}: it needs to be from 2 to 65,536")

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> VisualTokens:
        return VisualTokens(model, codes=self.codes, mask_ratio=self.mask_ratio)

    def default_model(self, side: int) -> tuple[str, dict[str, Any], int]:
        return small_vit(side)
