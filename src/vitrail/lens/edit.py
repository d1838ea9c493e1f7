"""Changes of attention heads and features during a forward pass, by hooks; `observe` reads them.

Layers, heads and rows are named as in `observe`. Weights and fast kernels do not change, gradients pass through, and
the hooks are removed after the `with` block.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..errors import VitrailError, nearest
from ..nn import ATTENDS, Tokens
from .compiled import original, uncompiled
from .layout import Layout, Surroundings
from .naming import LayerName, Rows, find_layers, find_module, listed, listed_rows, marked, prefix_rows
from .weights import Given

Rest = Literal["zero", "mean"]
Replacement = Tokens | Tensor | Callable[[Any], Any]
"""A new output for a module: a value that `observe_features` recorded, or a function of the module's own output."""


@contextmanager
def edit_attention(
    model: nn.Module,
    *,
    layers: LayerName | Iterable[LayerName] | None = None,
    heads: int | Iterable[int] | None = None,
    rows: Rows = None,
    to: Rest = "zero",
) -> Iterator[None]:
    """Replace the output of heads: `with edit_attention(model, layers=3, heads=[0, 5]): model(pixels)`.

    Head ablation: the output of these heads, weights times values, becomes zeros or its mean before the heads are
    concatenated. The residual stream around the layer is kept (Michel et al., 2019, "Are sixteen heads really better
    than one?").

    Args:
        model: any module with `Attend` inside.
        layers, heads, rows: as in `observe_attention`; rows are the tokens whose outputs are replaced.
        to: "zero", or "mean" over all tokens that attend to each other (those of the image, or of a window), so that
            the output of the head is the same for all of them.

    Raises:
        VitrailError: an unknown layer, head, row or `to`; a model without attention.
    """
    if to not in ("zero", "mean"):
        raise VitrailError(f"cannot replace heads by {to!r}: {nearest(to, ('zero', 'mean'))}")
    model = original(model)
    chosen_heads, chosen_rows = listed(heads), listed_rows(rows)
    with ExitStack() as hooks:
        hooks.enter_context(uncompiled())
        for index, name in find_layers(model, layers).items():
            around = Surroundings(model, name)
            for remove in around.hooks() if rows is not None else ():
                hooks.callback(remove)
            hook = _ablate(index, around, chosen_heads, chosen_rows, to)
            hooks.callback(model.get_submodule(name).register_forward_hook(hook, with_kwargs=True).remove)
        yield


@contextmanager
def edit_features(
    model: nn.Module,
    values: Mapping[str, Replacement],
    *,
    heads: int | Iterable[int] | None = None,
    rows: Rows = None,
) -> Iterator[None]:
    """Replace outputs of submodules: `with edit_features(model, {"blocks.3": other}): model(pixels)`.

    With features of another image it is activation patching (Vig et al., 2020, "Investigating gender bias in language
    models using causal mediation analysis"; Meng et al., 2022, "Locating and editing factual associations", section 2):
    run one image with some features of another, and measure their effect on the prediction.

    Args:
        model: any module.
        values: for each module, named as in `observe_features`, its new output, of the same shape as its own.
        heads: only these heads, for modules that are an `Attend`, whose output is (B, h, N, e).
        rows: only these tokens; "prefix" if the module returns `Tokens`.

    Raises:
        VitrailError: an unknown module, head or row; a value of another shape.
    """
    full = {name: find_module(model, name) for name in values}
    model = original(model)
    chosen_heads, chosen_rows = listed(heads), listed_rows(rows)
    with ExitStack() as hooks:
        hooks.enter_context(uncompiled())
        for name, value in values.items():
            hook = _replace(name, value, chosen_heads, chosen_rows)
            hooks.callback(model.get_submodule(full[name]).register_forward_hook(hook).remove)
        yield


def _ablate(
    index: int, around: Surroundings, heads: list[int] | None, rows: list[int] | str | None, to: Rest
) -> Callable[..., Tensor]:
    def hook(attend: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        rest = output.mean(dim=2, keepdim=True) if to == "mean" else torch.zeros_like(output[:, :, :1])
        mask = marked(heads, output.shape[1], "head", f"layer {index}").to(output.device)[:, None, None]
        if rows is not None:
            keys = Given.of(args, kwargs).k.shape[2]
            mask = mask & _places_of_rows(index, output, around.layout(output.shape[2], keys), rows)
        return torch.where(mask, rest, output)

    return hook


def _places_of_rows(
    index: int, output: Float[Tensor, "BG h n e"], layout: Layout | None, rows: list[int] | str
) -> Bool[Tensor, "#BG 1 n 1"]:
    """Positions of the selected tokens in the output of the heads, in every window that contains them."""
    numbers = prefix_rows(layout, index) if isinstance(rows, str) else rows
    count = layout.queries if layout else output.shape[2]
    wanted = marked(numbers, count, "row", f"layer {index}").to(output.device)
    if layout is None or layout.places is None:
        return wanted[None, None, :, None]
    queries = layout.places.queries
    held = (queries >= 0) & wanted[queries.clamp(min=0)]
    return held.repeat(output.shape[0] // len(held), 1)[:, None, :, None]


def _replace(
    name: str, value: Replacement, heads: list[int] | None, rows: list[int] | str | None
) -> Callable[..., Any]:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        new = value(output) if callable(value) else value
        if not isinstance(output, Tokens):
            return merged(module, output, output, new)
        if not isinstance(new, Tokens):
            raise VitrailError(
                f"{name} returns Tokens, not {_described(new)}: take the value that `observe_features` recorded"
            )
        return output.with_x(merged(module, output, output.x, new.x))

    def merged(module: nn.Module, output: Any, old: Any, new: Any) -> Tensor:
        if not isinstance(old, Tensor) or not isinstance(new, Tensor) or old.shape != new.shape:
            raise VitrailError(
                f"{name} returns {_described(old)}, which {_described(new)} cannot replace: use the same shape"
            )
        return torch.where(_asked(name, module, output, heads, rows), new, old)

    return hook


def _asked(
    name: str, module: nn.Module, output: Tokens | Tensor, heads: list[int] | None, rows: list[int] | str | None
) -> Bool[Tensor, "..."]:
    """Mask of the part of a module's output that is replaced."""
    x = output.x if isinstance(output, Tokens) else output
    mask = torch.ones(1, dtype=torch.bool)
    if isinstance(rows, str):
        if not isinstance(output, Tokens):
            raise VitrailError(f"{name} does not return Tokens, so its prefix is unknown: ask for rows by number")
        rows = list(range(output.prefix))
    if rows is not None:
        if x.ndim != 3 and not isinstance(module, ATTENDS):
            raise VitrailError(
                f"{name} returns {_described(x)}, which has no rows of tokens: name a block, or replace all"
            )
        mask = marked(rows, x.shape[-2], "row", name)[:, None]
    if heads is not None:
        if not isinstance(module, ATTENDS):
            raise VitrailError(f"{name} has no heads to choose: name the Attend inside it, such as {name}.attend")
        mask = mask & marked(heads, x.shape[1], "head", name)[:, None, None]
    return mask.to(x.device)


def _described(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
