"""Metrics of images with texts: retrieval of texts by images and of images by texts, over all that are evaluated."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import VitrailError
from .outcomes import Evaluation, Metrics
from .retrieval import RANKS, recalls
from .text_encoder import TextEncoder
from .worth import Baseline, compared, percent_interval, wilson

Captions = tuple[str, ...]
"""The captions of an image."""

_ROWS = 512
"""Queries whose similarities are in memory at a time."""

_NAMED = 5
"""Unknown words that a sentence names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrievalEvaluation(Evaluation):
    """Retrieval among the images and the different captions that were evaluated.

    Attributes:
        texts: number of different captions.
        by_image: R@k of images that look for a caption: {1: …, 5: …, 10: …}.
        by_text: R@k of captions that look for an image.
        chance: R@1 of captions in random order, by image.
        unknown: words of the captions that are not in the vocabulary.
    """

    texts: int
    by_image: dict[int, float]
    by_text: dict[int, float]
    chance: float
    unknown: tuple[str, ...] = field(default=())

    @property
    def quality(self) -> float:
        """Mean of R@1 of both directions."""
        return (self.by_image[1] + self.by_text[1]) / 2

    def headline(self) -> dict[str, float]:
        by_image = {f"image_to_text_r{k}": value for k, value in self.by_image.items()}
        by_text = {f"text_to_image_r{k}": value for k, value in self.by_text.items()}
        return {"loss": self.loss, **by_image, **by_text}

    def facts(self) -> list[tuple[str, str]]:
        return [
            *_facts("image → text", self.by_image, self.count),
            *_facts("text → image", self.by_text, self.texts),
            ("candidates", f"{self.texts:,} captions, {self.count:,} images"),
        ]

    def baseline(self) -> Baseline:
        """Captions in random order."""
        found = self.by_image[1]
        low, _ = wilson(round(found * self.count), self.count)
        value = f"R@1 {float(f'{100 * self.chance:.2g}'):g} %"
        return Baseline(answer="captions in random order", value=value, model=compared(found, low, self.chance))

    def cautions(self) -> list[str]:
        if not self.unknown:
            return Evaluation.cautions(self)
        more = f" and {len(self.unknown) - _NAMED} more" if len(self.unknown) > _NAMED else ""
        words = f"Words that the model does not know: {', '.join(self.unknown[:_NAMED])}{more}."
        return [*Evaluation.cautions(self), words]

    def card_metrics(self) -> dict[str, float]:
        return {name: value for name, value in self.headline().items() if name != "loss"}

    def to_dict(self) -> dict[str, Any]:
        return {"images": self.count, "texts": self.texts, **self.headline(), "chance": self.chance}


def _facts(direction: str, values: dict[int, float], count: int) -> list[tuple[str, str]]:
    found = []
    for k, value in values.items():
        interval = percent_interval(wilson(round(value * count), count))
        found.append((f"{direction} R@{k}", f"{100 * value:.1f} % ({interval})"))
    return found


class RetrievalMetrics(Metrics):
    """Keeps the vectors of images; captions are encoded at the end, each different one once.

    Args:
        encoder: the text encoder.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder = encoder
        self.images: list[Tensor] = []
        self.captions: list[Captions] = []

    def update(self, output: Float[Tensor, "B E"], target: Sequence[Captions]) -> None:
        """Add embeddings of images, and their captions."""
        self.images.append(F.normalize(output.flatten(1), dim=-1))
        self.captions += target

    def compute(self) -> RetrievalEvaluation:
        if not self.captions:
            raise VitrailError("no images to evaluate")
        images = torch.cat(self.images)
        texts = different(self.captions)
        vectors = self.encoder.vectors(texts)
        own = ownership(self.captions, texts)
        by_image, image_loss = self._both(images, vectors, own)
        by_text, text_loss = self._both(vectors, images, own.t())
        return RetrievalEvaluation(
            count=len(images),
            loss=(image_loss + text_loss) / 2,
            texts=len(texts),
            by_image=by_image,
            by_text=by_text,
            chance=own.double().mean(dim=1).mean().item(),
            unknown=tuple(self.encoder.tokenizer.unknown(texts)),
        )

    def _both(
        self, queries: Float[Tensor, "n E"], items: Float[Tensor, "m E"], right: Bool[Tensor, "n m"]
    ) -> tuple[dict[int, float], float]:
        """R@k, and the mean of −log of the probability of the right items, for all queries."""
        found, losses = [], []
        for start in range(0, len(queries), _ROWS):
            logits, own = self.encoder.logits(queries[start : start + _ROWS], items), right[start : start + _ROWS]
            found.append(recalls(logits, own))
            log_probabilities = logits.double().log_softmax(dim=1).masked_fill(~own, -torch.inf)
            losses.append(-log_probabilities.logsumexp(dim=1))
        means = torch.cat(found).mean(dim=0).tolist()
        return dict(zip(RANKS, means, strict=True)), torch.cat(losses).mean().item()


def different(captions: Sequence[Captions]) -> list[str]:
    """The different captions of images, in the order in which they occur."""
    return list(dict.fromkeys(text for own in captions for text in own))


def ownership(captions: Sequence[Captions], texts: Sequence[str]) -> Bool[Tensor, "n m"]:
    """Whether a text is a caption of an image."""
    place = {text: column for column, text in enumerate(texts)}
    own = torch.zeros(len(captions), len(texts), dtype=torch.bool)
    for row, each in enumerate(captions):
        own[row, [place[text] for text in each]] = True
    return own
