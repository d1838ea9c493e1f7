"""Weighted k-nearest-neighbour classification on frozen features (Wu et al., 2018; Caron et al., 2021, "DINO")."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ...errors import VitrailError

NEIGHBOURS = (10, 20, 100, 200)
"""Numbers of neighbours that DINO compares."""

TEMPERATURE = 0.07

_QUERIES = 1024
"""Queries that are compared with the memory at once."""


def knn_scores(
    memory: Float[Tensor, "n D"],
    targets: Float[Tensor, "n K"],
    queries: Float[Tensor, "m D"],
    neighbours: Sequence[int] = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> dict[int, Float[Tensor, "m K"]]:
    """Scores of the classes for each query, by number of neighbours k.

    The score of a class is the share of the votes of the k images of the memory with the highest cosine similarity s,
    each of which votes for its own classes with weight exp(s / temperature).

    Args:
        memory: features of labelled images.
        targets: 1 for the classes of each of these images, 0 elsewhere.
        queries: features of images to classify.
        neighbours: numbers of neighbours, each from 1 to n.
        temperature: more than 0.

    Raises:
        VitrailError: the memory has fewer images than neighbours are asked for.
    """
    if not neighbours or not 1 <= min(neighbours) <= max(neighbours) <= len(memory):
        asked = ", ".join(map(str, neighbours)) or "no"
        raise VitrailError(f"{asked} neighbours of {len(memory)} images are not possible: use 1 to {len(memory)}")
    known = F.normalize(memory.float(), dim=1)
    parts = [
        _votes(known, targets.float(), F.normalize(part.float(), dim=1), neighbours, temperature)
        for part in queries.split(_QUERIES)
    ]
    empty = targets.new_zeros(0, targets.shape[1], dtype=torch.float32)
    return {k: torch.cat([empty, *(part[k] for part in parts)]) for k in neighbours}


def _votes(
    memory: Float[Tensor, "n D"],
    targets: Float[Tensor, "n K"],
    queries: Float[Tensor, "m D"],
    neighbours: Sequence[int],
    temperature: float,
) -> dict[int, Float[Tensor, "m K"]]:
    similarity, nearest = (queries @ memory.T).topk(max(neighbours), dim=1)
    weights = ((similarity - similarity[:, :1]) / temperature).exp()  # relative to the nearest one, for any temperature
    votes, found = torch.zeros(len(queries), targets.shape[1]), {}
    for place in range(max(neighbours)):
        votes = votes + weights[:, place, None] * targets[nearest[:, place]]
        if place + 1 in neighbours:
            found[place + 1] = votes / weights[:, : place + 1].sum(dim=1, keepdim=True)
    return found
