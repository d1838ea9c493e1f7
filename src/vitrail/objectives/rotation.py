"""Rotation: pre-training without labels by recognising by how much an image was turned."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.loader import Batch
from ..errors import VitrailError
from ..models.fields import ModelConfig, pair
from ..nn import BaseVisionModel
from .encoders import EncoderObjectiveConfig, embedding_dim
from .objective import Labels, Loss, Moment, Objective, Trivial

_TURNS = 4


class Rotation(Objective):
    """Cross entropy of the quarter turns, 0 to 3, of an image; every image is seen in all four.

    Gidaris et al. (2018), "Unsupervised representation learning by predicting image rotations", section 2. The four
    copies of a batch are one forward pass, as recommended there: a step costs as much as one of four times the batch.

    Args:
        model: an encoder without classes, for square images.
    """

    def __init__(self, model: BaseVisionModel[ModelConfig]) -> None:
        super().__init__(model)
        height, width = pair(model.config.image_size)
        if height != width:
            raise VitrailError(
                f"objective rotation turns images, and these are {height}×{width}: use a square --image-size"
            )
        self.classify = nn.Linear(embedding_dim(model.config), _TURNS)

    def forward(self, batch: Batch, moment: Moment) -> Loss:
        turned = torch.cat([batch.pixels.rot90(turns, (2, 3)) for turns in range(_TURNS)])
        turns = torch.arange(_TURNS, device=turned.device).repeat_interleave(len(batch.pixels))
        logits: Tensor = self.classify(self.model(turned)).float()
        accuracy = (logits.argmax(dim=1) == turns).float().mean()
        return Loss(F.cross_entropy(logits, turns), {"accuracy": accuracy})

    def trivial(self, batch: Batch) -> Trivial:
        return Trivial("guessing", torch.tensor(math.log(_TURNS)))


@dataclass(frozen=True, kw_only=True)
class RotationConfig(EncoderObjectiveConfig):
    """Recognise by how many quarter turns an image was rotated (Gidaris et al., 2018)."""

    name: ClassVar[str] = "rotation"

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> Rotation:
        return Rotation(model)
