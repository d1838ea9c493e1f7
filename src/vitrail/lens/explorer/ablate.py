"""Take heads and patches out of a forward pass, and see what the prediction becomes. Nothing stays changed."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...errors import VitrailError
from ...nn import Tokens
from ..edit import edit_attention, edit_features
from .data import Watched, probabilities


class Region(NamedTuple):
    """A part of the picture, from 0 to 1 on both sides."""

    top: float
    left: float
    bottom: float
    right: float


@contextmanager
def without(model: nn.Module, heads: Iterable[tuple[int, int]], regions: Iterable[Region]) -> Iterator[None]:
    """Inside the block the model does without these heads and parts of the picture.

    A head (layer, head), both counted from 0, gives zeros. A patch becomes the mean of the picture's patches where they
    leave the embedding, before it has told anything to any other: it is there, and says nothing of its own.

    Raises:
        VitrailError: no such layer or head; patches of a model whose embedding gives no tokens.
    """
    by_layer, where = defaultdict(list), list(regions)
    for layer, head in heads:
        by_layer[layer].append(head)
    with ExitStack() as changes:
        for layer, silent in by_layer.items():
            changes.enter_context(edit_attention(model, layers=layer, heads=silent))
        if where:
            changes.enter_context(edit_features(model, {"embed": lambda tokens: _blank(tokens, where)}))
        yield


def ablated(
    watched: Watched, image: Tensor, heads: Iterable[tuple[int, int]], regions: Iterable[Region]
) -> list[float] | None:
    """The probability of every class without these heads and parts; None for a model that does not classify."""
    with without(watched.model, heads, regions), torch.inference_mode():
        found = probabilities(watched, watched.model(watched.pixels(image)))
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
