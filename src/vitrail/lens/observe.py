"""Attention weights and features of a forward pass, read by hooks; `edit` changes them.

Anything that is the input or output of a submodule can be observed. The model keeps its fast kernels: attention weights
are recomputed from the inputs of `Attend`, only for the selected layers, heads and rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import VitrailError
from .compiled import original, uncompiled
from .layout import Layout, Surroundings, rows_of_groups
from .naming import (
    LayerName,
    Rows,
    attend_names,
    check_numbers,
    find_layer,
    find_layers,
    find_module,
    listed,
    listed_rows,
    prefix_rows,
)
from .reading import head_reading
from .weights import Given, chosen_weights


class Attention(Mapping[int, Tensor]):
    """Attention weights of the last forward pass: `seen[3]`, `seen[-1]` or `seen["blocks.3"]`, (B, h, R, M).

    R is the number of selected rows (queries), M that of all keys; `layout` has their positions in the image. If no
    rows are selected, a layer that attends within groups (windows, frames) keeps its own shape, (B × groups, h, n, m),
    which `over_image` converts to the whole image. Iterating yields the numbers of the observed layers.

    Attributes:
        all_rows: whether all queries were recorded.
        reads: the tokens that the model's head reads.
    """

    def __init__(self, model: nn.Module, asked: Iterable[int], *, all_rows: bool = True) -> None:
        self.all_rows = all_rows
        self.reads = head_reading(model)
        self._model = model
        self._names = attend_names(model)
        self._asked = tuple(asked)
        self._weights: dict[int, Tensor] = {}
        self._layouts: dict[int, Layout] = {}

    def __getitem__(self, layer: LayerName) -> Float[Tensor, "B h R M"]:
        return self._weights[self._reached(layer)]

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._weights))

    def __len__(self) -> int:
        return len(self._weights)

    def layout(self, layer: LayerName) -> Layout:
        """Positions of the layer's queries and keys in the image."""
        index = self._reached(layer)
        if index not in self._layouts:
            raise VitrailError(f"layer {index} received no Tokens, so its grid and prefix are unknown")
        return self._layouts[index]

    def _reached(self, layer: LayerName) -> int:
        index = find_layer(self._model, layer, self._names)
        if index not in self._asked:
            raise VitrailError(f"layer {index} is not observed: observed are {', '.join(map(str, self._asked))}")
        if index not in self._weights:
            raise VitrailError(f"layer {index} has not been reached: call the model inside the `with` block first")
        return index


@contextmanager
def observe_attention(
    model: nn.Module,
    *,
    layers: LayerName | Iterable[LayerName] | None = None,
    heads: int | Iterable[int] | None = None,
    rows: Rows = None,
) -> Iterator[Attention]:
    """Record attention weights: `with observe_attention(model, rows="prefix") as seen: model(pixels)`.

    After each forward pass `seen[layer]` has its weights, (B, h, R, M), detached, in float32 (float64 for a float64
    model). Another pass replaces them; they can be read after the block. They equal the explicit softmax(q kᵀ / √d +
    bias), also in training mode and under autocast. Memory is proportional to the number of selected weights. In
    training, drop path skips layers for some images: B is the number of the others. Rows are tokens of the whole image;
    if rows are selected, columns are too, also for layers that attend within windows. For all rows see `Attention`.

    Args:
        model: any module with `Attend` inside.
        layers: numbers among the model's attentions, or names of modules ("blocks.3"); None for all.
        heads: numbers of heads, negative from the end; None for all.
        rows: queries to keep: "prefix" for the class, distillation and register tokens, token numbers (prefix
            tokens come first), or None for all.

    Raises:
        VitrailError: an unknown layer, head or row; a model without attention.
    """
    model = original(model)
    asked = find_layers(model, layers)
    chosen_heads, chosen_rows = listed(heads), listed_rows(rows)
    seen = Attention(model, asked, all_rows=rows is None)
    with ExitStack() as hooks:
        hooks.enter_context(uncompiled())
        for index, name in asked.items():
            around = Surroundings(model, name)
            for remove in around.hooks():
                hooks.callback(remove)
            hook = _weights_hook(seen, index, around, chosen_heads, chosen_rows)
            hooks.callback(model.get_submodule(name).register_forward_pre_hook(hook, with_kwargs=True).remove)
        yield seen


@contextmanager
def observe_features(model: nn.Module, *names: str) -> Iterator[dict[str, Any]]:
    """Record outputs of submodules: `with observe_features(model, "blocks.3") as seen: model(pixels)`.

    Each is the output of the module in the last forward pass, `Tokens` or a tensor, not detached, under the given name.
    A unique ending of the module's name is sufficient.

    Raises:
        VitrailError: no such module, or several.
    """
    model = original(model)
    full = {name: find_module(model, name) for name in names}
    seen: dict[str, Any] = {}
    with ExitStack() as hooks:
        hooks.enter_context(uncompiled())
        for name in names:

            def keep(module: nn.Module, given: Any, output: Any, name: str = name) -> None:
                seen[name] = output

            hooks.callback(model.get_submodule(full[name]).register_forward_hook(keep).remove)
        yield seen


def _weights_hook(
    seen: Attention, index: int, around: Surroundings, heads: list[int] | None, rows: Any
) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = Given.of(args, kwargs)
        q, k, bias = given.q, given.k, given.dense_bias()
        layout = around.layout(q.shape[2], k.shape[2])
        if layout is not None:
            seen._layouts[index] = layout
        check_numbers("head", heads or (), q.shape[1], f"layer {index}")
        chosen = prefix_rows(layout, index) if rows == "prefix" else rows
        check_numbers("row", chosen or (), layout.queries if layout else q.shape[2], f"layer {index}")
        if chosen is None or layout is None or layout.places is None:
            seen._weights[index] = chosen_weights(module, q, k, bias, heads, chosen)
        else:
            seen._weights[index] = _rows_over_image(module, q, k, bias, heads, chosen, layout)

    return hook


def _rows_over_image(
    attend: Any,
    q: Float[Tensor, "BG h n d"],
    k: Float[Tensor, "BG h m d"],
    bias: Float[Tensor, "... n m"] | None,
    heads: list[int] | None,
    rows: list[int],
    layout: Layout,
) -> Float[Tensor, "B g R M"]:
    """As `chosen_weights`, for tokens of the image in a layer that attends within groups; 0 outside a token's group."""
    assert layout.places is not None
    rows = [row % layout.queries for row in rows]
    index, group, query = rows_of_groups(layout.places, rows)
    groups = layout.places.queries.shape[0]

    def of_rows(x: Tensor) -> Tensor:
        """(B × groups, …) -> (B × found rows, …): the group that each row belongs to."""
        return x.unflatten(0, (-1, groups))[:, group].flatten(0, 1)

    batch = q.shape[0] // groups
    each = query.repeat(batch)[:, None, None, None]
    one = of_rows(q).take_along_dim(each, dim=2)
    if bias is not None:
        bias = of_rows(bias.expand(*q.shape[:3], k.shape[2])).take_along_dim(each, dim=2)
    weights = chosen_weights(attend, one, of_rows(k), bias, heads)[:, :, 0].unflatten(0, (batch, -1))
    out = weights.new_zeros(batch, len(rows), weights.shape[2], layout.keys + 1)  # the last column: no token
    keys = (layout.places.keys[group] % (layout.keys + 1))[None, :, None].expand_as(weights)
    out.index_add_(1, index, torch.zeros_like(out[:, index]).scatter_add_(3, keys, weights))
    met = torch.bincount(index, minlength=len(rows)).clamp(min=1)
    return (out / met[:, None, None])[..., :-1].transpose(1, 2)
