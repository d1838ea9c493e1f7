"""Where the queries of a detector's decoder look: the cross-attention of each found object, in every layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import tree_map_only

from ..tasks.object_prediction import FoundObject, QueriedObject
from .observe import Attention
from .rollout import class_token_map
from .watched import Watched


@dataclass(frozen=True, slots=True)
class ObjectMaps:
    """An object, and what the query that found it attends to.

    Attributes:
        found: class, probability and box.
        shown: whether its probability reaches the task's threshold.
        query: number of the query, from 0.
        maps: (h, rows, columns) of each layer of the decoder, from first to last; each head sums to 1.
    """

    found: FoundObject
    shown: bool
    query: int
    maps: tuple[Float[Tensor, "h rows columns"], ...]


def queried_objects(watched: Watched, output: Any) -> Sequence[QueriedObject]:
    """What each query found in the first image, in the order of the queries; none for models without such queries."""
    if watched.task is None:
        return ()
    return watched.task.queried(tree_map_only(Tensor, lambda values: values.float().cpu(), output), watched.names)


def object_maps(watched: Watched, seen: Attention, output: Any) -> tuple[ObjectMaps, ...]:
    """The objects of the first image that reach the threshold, the most probable first; the best one if none does.

    Their maps are the rows of the cross-attention (Carion et al., 2020, "DETR", figure 6).

    Args:
        watched: the model; its task states what the queries found.
        seen: all rows of the attention.
        output: output of the same forward pass.
    """
    objects = queried_objects(watched, output)
    order = sorted(range(len(objects)), key=lambda query: -objects[query].found.score)
    count = max(1, sum(one.shown for one in objects))
    layers = [layer for layer in seen if _asks(seen, layer, len(objects))]
    return tuple(
        ObjectMaps(
            objects[query].found, objects[query].shown, query, tuple(_row(seen, layer, query) for layer in layers)
        )
        for query in order[:count]
        if layers
    )


def _asks(seen: Attention, layer: int, queries: int) -> bool:
    """Whether the queries of a layer are those of the objects, and its keys the patches."""
    layout = seen.layout(layer)
    return layout.prefix == 0 and layout.grid == (queries,) and len(layout.key_grid) == 2


def _row(seen: Attention, layer: int, query: int) -> Float[Tensor, "h rows columns"]:
    layout = seen.layout(layer)
    row = seen[layer][:1, :, query : query + 1]
    return class_token_map(row, layout.key_grid, layout.key_prefix, layout.key_cover)[0].cpu()
