"""Measures of collapse of embeddings, which need no labels: effective rank and spread."""

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, linalg


def effective_rank(embeddings: Float[Tensor, "n D"]) -> float:
    """Exponential of the entropy of the normalised singular values, from 1 to min(n, D).

    Garrido et al. (2023), "RankMe", equation 1. Embeddings that are all alike have rank 1.
    """
    values = linalg.svdvals(embeddings.double())
    total = values.sum()
    if not total > 0:
        return 1.0
    shares = values / total
    return (shares * -shares.clamp(min=1e-12).log()).sum().exp().item()


def spread(embeddings: Float[Tensor, "n D"]) -> float:
    """Mean standard deviation of the L2-normalised embeddings' components, times √D.

    About 1 if the directions of the embeddings are spread evenly, and 0 if they are all the same: complete collapse
    (Chen and He, 2021, "SimSiam", section 4.1).
    """
    normal = F.normalize(embeddings.double(), dim=1)
    return normal.std(dim=0, correction=0).mean().item() * math.sqrt(embeddings.shape[1])
