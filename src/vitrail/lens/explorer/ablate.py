"""Take heads and patches out of a forward pass, and see what the prediction becomes. Nothing stays changed."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...errors import VitrailError
from ...nn.tokens import Tokens
from ..naming import attend_names
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
    names, by_layer, where = attend_names(model), defaultdict(list), list(regions)
    for layer, head in heads:
        if not 0 <= layer < len(names):
            raise VitrailError(f"there is no layer {layer}: the model has {len(names)}, 0 to {len(names) - 1}")
        by_layer[layer].append(head)
    with ExitStack() as hooks:
        for layer, asked in by_layer.items():
            attend = model.get_submodule(names[layer])
            hooks.callback(attend.register_forward_hook(_silence(layer, asked)).remove)
        if where:
            embed = getattr(model, "embed", None)
            if not isinstance(embed, nn.Module):
                raise VitrailError(f"{type(model).__name__} has no module `embed`, where patches could be taken out")
            hooks.callback(embed.register_forward_hook(_blank(where)).remove)
        yield


def ablated(
    watched: Watched, image: Tensor, heads: Iterable[tuple[int, int]], regions: Iterable[Region]
) -> list[float] | None:
    """The probability of every class without these heads and parts; None for a model that does not classify."""
    with without(watched.model, heads, regions), torch.inference_mode():
        found = probabilities(watched, watched.model(watched.pixels(image)))
    return None if found is None else found.tolist()


def _silence(layer: int, heads: list[int]) -> Callable[..., Tensor]:
    def hook(attend: nn.Module, args: Any, output: Tensor) -> Tensor:
        for head in heads:
            if not 0 <= head < output.shape[1]:
                raise VitrailError(f"layer {layer} has no head {head}: it has {output.shape[1]}, from 0")
        output = output.clone()
        output[:, heads] = 0
        return output

    return hook


def _blank(regions: list[Region]) -> Callable[..., Tokens]:
    def hook(embed: nn.Module, args: Any, tokens: Any) -> Tokens:
        if not isinstance(tokens, Tokens) or len(tokens.grid) != 2:
            raise VitrailError("the embedding of this model gives no grid of patches, so none can be taken out")
        gone = torch.zeros(tokens.grid, dtype=torch.bool, device=tokens.x.device)
        for region in regions:
            gone |= _inside(tokens.grid[0], region.top, region.bottom, gone.device)[:, None] & _inside(
                tokens.grid[1], region.left, region.right, gone.device
            )
        mean = tokens.patches.mean(dim=1, keepdim=True)
        patches = torch.where(gone.flatten()[None, :, None], mean, tokens.patches)
        return tokens.with_x(torch.cat([tokens.x[:, : tokens.prefix], patches], dim=1))

    return hook


def _inside(count: int, low: float, high: float, device: torch.device) -> Tensor:
    middle = (torch.arange(count, device=device) + 0.5) / count
    return (middle >= low) & (middle < high)
