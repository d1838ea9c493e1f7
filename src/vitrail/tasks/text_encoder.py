"""The text encoder of a model with its tokenizer, which turns texts into vectors to compare images with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..data.tokenize import Tokenizer
from ..nn import DualEncoder

_BATCH = 64


@dataclass(frozen=True, eq=False, slots=True)
class TextEncoder:
    """Texts -> unit vectors in the space of a model's images, in float32.

    Attributes:
        model: model of images and texts.
        tokenizer: its tokenizer.
    """

    model: DualEncoder[Any]
    tokenizer: Tokenizer

    def vectors(self, texts: Sequence[str]) -> Float[Tensor, "m E"]:
        """Unit vectors of texts, on the CPU."""
        encoder = self.model.text.eval()
        device = next(encoder.parameters()).device
        with torch.inference_mode():
            parts = [
                F.normalize(encoder(self.tokenizer(texts[start : start + _BATCH]).to(device)), dim=-1).cpu()
                for start in range(0, len(texts), _BATCH)
            ]
        return torch.cat(parts)

    def logits(self, images: Float[Tensor, "n E"], texts: Float[Tensor, "m E"]) -> Float[Tensor, "n m"]:
        """The model's logits of unit vectors of images and texts, on the CPU."""
        compare = self.model.compare
        device = next(compare.parameters()).device
        with torch.inference_mode():
            found: Tensor = compare(images.to(device), texts.to(device))
            return found.cpu()
