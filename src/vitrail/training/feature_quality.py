"""Quality of the features of a model that is trained without labels: rank, spread, and kNN accuracy."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..engines.predictor import Predictor
from ..engines.torch_engine import TorchEngine
from ..evaluation.probe.collapse import effective_rank, spread
from ..evaluation.probe.knn import knn_scores
from ..evaluation.probe.linear import accuracy
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel, EmbeddingModel
from ..tasks.embedding import Embedding
from .recipe import chosen
from .setup import RunSetup

_NEIGHBOURS = 20
"""Neighbours of an image; DINO's best number on ImageNet."""

_LEAST_SPREAD, _LEAST_RANK = 0.01, 1.1
"""Embeddings of less have collapsed: a cosine similarity above 0.9999 on average, or one direction. Those of a masked
autoencoder, which are useful, are at 0.09 and 3.3 on digits (LOG.md)."""


@dataclass(frozen=True, slots=True)
class FeatureQuality:
    """Measures of a model's embeddings of held-out images.

    Attributes:
        rank: effective rank, see `effective_rank`.
        spread: see `spread`.
        knn_top1: accuracy of kNN on labelled images, 0 to 1; None without such images.
        knn_count: number of these.
    """

    rank: float
    spread: float
    knn_top1: float | None = None
    knn_count: int = 0

    @property
    def caution(self) -> str:
        """A sentence if the features have collapsed; otherwise empty."""
        if self.spread >= _LEAST_SPREAD and self.rank >= _LEAST_RANK:
            return ""
        return (
            f"The features have collapsed: the embeddings of all images are nearly the same (spread {self.spread:.2g}, "
            f"effective rank {self.rank:.3g}). Use a lower learning rate, more images, or another objective."
        )


def feature_quality(setup: RunSetup, model: BaseVisionModel[ModelConfig], split: str) -> FeatureQuality | None:
    """Measure the embeddings of a split and of the run's images for kNN; None for a split of fewer than two images.

    Args:
        setup: the run.
        model: in evaluation mode afterwards.
        split: split without labels, for rank and spread.
    """
    if len(setup.part(split)) < 2:
        return None
    engine = TorchEngine(EmbeddingModel(model), str(setup.device), chosen(setup.recipe.precision))
    predictor = Predictor(engine, setup.preprocess, Embedding(), (), batch_size=_BATCH_SIZE)

    def vectors(batches: Iterable[Tensor]) -> Tensor:
        return torch.cat(list(predictor.outputs(batches)))

    found = vectors(setup.eval_loader(split, _BATCH_SIZE))
    rank, wide = effective_rank(found), spread(found)
    if setup.knn is None:
        return FeatureQuality(rank, wide)
    memory, queries = (vectors(loader) for loader in setup.knn_loaders)
    known, wanted = setup.knn.targets
    k = min(_NEIGHBOURS, len(memory))
    top1 = accuracy(knn_scores(memory, known, queries, (k,))[k], wanted.argmax(dim=1))
    return FeatureQuality(rank, wide, top1, len(queries))


_BATCH_SIZE = 32
