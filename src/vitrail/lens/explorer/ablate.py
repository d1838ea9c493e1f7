"""Predictions without some heads and patches: ablation for the explorer. The model is unchanged afterwards."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...errors import VitrailError
from ...nn import Tokens
from ..edit import edit_attention, edit_features
from ..outputs import run
from ..watched import Watched, scores


class Region(NamedTuple):
    """A rectangle of the image, in fractions of its sides."""

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
    regular = isinstance(tokens, Tokens) and len(tokens.grid) == 2
    if not regular or tokens.patches.shape[1] != torch.Size(tokens.grid).numel():
        raise VitrailError("the embedding of this model gives no regular grid of patches, so none can be taken out")
    gone = torch.zeros(tokens.grid, dtype=torch.bool, device=tokens.x.device)
    for region in regions:
        gone |= _inside(tokens.grid[0], region.top, region.bottom, gone.device)[:, None] & _inside(
            tokens.grid[1], region.left, region.right, gone.device
        )
    mean = tokens.patches.mean(dim=1, keepdim=True)
    patches = torch.where(gone.flatten()[None, :, None], mean, tokens.patches)
    return tokens.with_x(torch.cat([tokens.x[:, : tokens.prefix], patches], dim=1))


def _inside(count: int, low: float, high: float, device: torch.device) -> Tensor:
    middle = (torch.arange(count, device=device) + 0.5) / count
    return (middle >= low) & (middle < high)
