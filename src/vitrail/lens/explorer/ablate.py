"""Predictions without some heads and patches: ablation for the explorer. The model is unchanged afterwards."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from ...errors import VitrailError
from ...nn import Tokens
from ..edit import edit_attention, edit_features
from ..frames import Mosaic
from ..outputs import run
from ..watched import Watched, scores


class Region(NamedTuple):
    """A rectangle of the image, or of the mosaic of a clip, in fractions of its sides."""

    top: float
    left: float
    bottom: float
    right: float


@contextmanager
def without(model: nn.Module, heads: Iterable[tuple[int, int]], regions: Iterable[Region]) -> Iterator[None]:
    """Context manager that ablates heads and regions of the image.

    The output of a head (layer, head), both counted from 0, becomes zeros. A patch becomes the mean of the image's
    patches in the output of the embedding, before any layer mixes them.

    Raises:
        VitrailError: no such layer or head; patches of a model whose embedding gives no tokens.
    """
    by_layer, where = defaultdict(list), list(regions)
    for layer, head in heads:
        by_layer[layer].append(head)
    with ExitStack() as changes:
        for layer, numbers in by_layer.items():
            changes.enter_context(edit_attention(model, layers=layer, heads=numbers))
        if where:
            changes.enter_context(edit_features(model, {"embed": lambda tokens: _blank(tokens, where)}))
        yield


def ablated(
    watched: Watched, image: Tensor, heads: Iterable[tuple[int, int]], regions: Iterable[Region]
) -> list[float] | None:
    """The `scores` of every output without these heads and regions; None for a model without."""
    with without(watched.model, heads, regions), torch.inference_mode():
        found = scores(watched, run(watched.model, watched.pixels(image)))
    return None if found is None else found.tolist()


def _blank(tokens: Any, regions: list[Region]) -> Tokens:
    regular = isinstance(tokens, Tokens) and len(tokens.grid) in (2, 3)
    if not regular or tokens.patches.shape[1] != torch.Size(tokens.grid).numel():
        raise VitrailError("the embedding of this model gives no regular grid of patches, so none can be taken out")
    gone = _gone(tokens.grid, regions).to(tokens.x.device)
    mean = tokens.patches.mean(dim=1, keepdim=True)
    patches = torch.where(gone.flatten()[None, :, None], mean, tokens.patches)
    return tokens.with_x(torch.cat([tokens.x[:, : tokens.prefix], patches], dim=1))


def _gone(grid: tuple[int, ...], regions: list[Region]) -> Bool[Tensor, "*grid"]:
    """Which patches lie in the regions; of a clip in its mosaic."""
    mosaic = Mosaic.of(grid[0]) if len(grid) == 3 else None
    rows, columns = grid if mosaic is None else (mosaic.rows * grid[1], mosaic.columns * grid[2])
    gone = torch.zeros(rows, columns, dtype=torch.bool)
    for region in regions:
        gone |= _inside(rows, region.top, region.bottom)[:, None] & _inside(columns, region.left, region.right)
    return gone if mosaic is None else gone.flatten()[mosaic.order(grid).argsort()].unflatten(0, grid)


def _inside(count: int, low: float, high: float) -> Bool[Tensor, " count"]:
    middle = (torch.arange(count) + 0.5) / count
    return (middle >= low) & (middle < high)
