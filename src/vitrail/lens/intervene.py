"""Change what passes through a model while a block lasts: the counterpart of `observe` and `features`.

Heads and tokens are named as there. Hooks do it: the model's weights and its fast kernels are not touched, gradients
pass, and behind the block nothing is left.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..errors import VitrailError, nearest
from ..nn import ATTENDS, Tokens
from .layout import Layout, Surroundings
from .naming import LayerName, Rows, find_layers, find_module, listed, listed_rows, marked, prefix_rows
from .observe import OBSERVABLES
from .weights import Given

Rest = Literal["zero", "mean"]
Replacement = Tokens | Tensor | Callable[[Any], Any]
"""What a module is to give: a value that `features` captured, or a function of what it would have given."""


@contextmanager
def ablate(
    model: nn.Module,
    what: str = "attention",
    *,
    layers: LayerName | Iterable[LayerName] | None = None,
    heads: int | Iterable[int] | None = None,
    rows: Rows = None,
    to: Rest = "zero",
) -> Iterator[None]:
    """Do without some heads: `with ablate(model, layers=3, heads=[0, 5]): model(pixels)`.

    What these heads give, weights times values, becomes zeros or their mean, before the heads are put together. The
    residual stream around the layer goes on (Michel et al., 2019, "Are sixteen heads really better than one?").

    Args:
        model: any module with `Attend` inside.
        what: "attention".
        layers, heads, rows: as in `observe`; rows are the tokens for which the heads are silent.
        to: "zero", or "mean" over all tokens that look together (those of the picture, or of a window): the head
            then tells every token the same.

    Raises:
        VitrailError: as `observe`; an unknown `to`.
    """
    if what not in OBSERVABLES:
        raise VitrailError(
            f"cannot ablate {what!r}: {nearest(what, OBSERVABLES)}; `patch_features` replaces any module's output"
        )
    if to not in ("zero", "mean"):
        raise VitrailError(f"cannot ablate to {to!r}: {nearest(to, ('zero', 'mean'))}")
    chosen_heads, chosen_rows = listed(heads), listed_rows(rows)
    with ExitStack() as hooks:
        for index, name in find_layers(model, layers).items():
            around = Surroundings(model, name)
            for remove in around.hooks() if rows is not None else ():
                hooks.callback(remove)
            hook = _silence(index, around, chosen_heads, chosen_rows, to)
            hooks.callback(model.get_submodule(name).register_forward_hook(hook, with_kwargs=True).remove)
        yield


@contextmanager
def patch_features(
    model: nn.Module,
    values: Mapping[str, Replacement],
    *,
    heads: int | Iterable[int] | None = None,
    rows: Rows = None,
) -> Iterator[None]:
    """Put features of one pass into another: `with patch_features(model, {"blocks.3": other}): model(pixels)`.

    Activation patching (Vig et al., 2020, "Investigating gender bias in language models using causal mediation
    analysis"; Meng et al., 2022, "Locating and editing factual associations", section 2): run a picture with the
    features of another, and see which of them carry the answer.

    Args:
        model: any module.
        values: for each module, named as in `features`, what it gives: of the shape that it would give itself.
        heads: only these heads, of modules that are an `Attend`: what heads give is (B, h, N, e).
        rows: only these tokens; "prefix" where the module gives `Tokens`.

    Raises:
        VitrailError: an unknown module, head or row; a value of another shape.
    """
    full = {name: find_module(model, name) for name in values}
    chosen_heads, chosen_rows = listed(heads), listed_rows(rows)
    with ExitStack() as hooks:
        for name, value in values.items():
            hook = _replace(name, value, chosen_heads, chosen_rows)
            hooks.callback(model.get_submodule(full[name]).register_forward_hook(hook).remove)
        yield


def _silence(
    index: int, around: Surroundings, heads: list[int] | None, rows: list[int] | str | None, to: Rest
) -> Callable[..., Tensor]:
    def hook(attend: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
        rest = output.mean(dim=2, keepdim=True) if to == "mean" else torch.zeros_like(output[:, :, :1])
        mask = marked(heads, output.shape[1], "head", f"layer {index}").to(output.device)[:, None, None]
        if rows is not None:
            keys = Given.of(args, kwargs).k.shape[2]
            mask = mask & _where_rows_stand(index, output, around.layout(output.shape[2], keys), rows)
        return torch.where(mask, rest, output)

    return hook


def _where_rows_stand(
    index: int, output: Float[Tensor, "BG h n e"], layout: Layout | None, rows: list[int] | str
) -> Bool[Tensor, "#BG 1 n 1"]:
    """The places of the asked tokens in what heads gave, in every window that they stand in."""
    numbers = prefix_rows(layout, index) if isinstance(rows, str) else rows
    count = layout.queries if layout else output.shape[2]
    wanted = marked(numbers, count, "row", f"layer {index}").to(output.device)
    if layout is None or layout.places is None:
        return wanted[None, None, :, None]
    queries = layout.places.queries
    stands = (queries >= 0) & wanted[queries.clamp(min=0)]
    return stands.repeat(output.shape[0] // len(stands), 1)[:, None, :, None]


def _replace(
    name: str, value: Replacement, heads: list[int] | None, rows: list[int] | str | None
) -> Callable[..., Any]:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        new = value(output) if callable(value) else value
        if not isinstance(output, Tokens):
            return merged(module, output, output, new)
        if not isinstance(new, Tokens):
            raise VitrailError(f"{name} gives Tokens, not {_described(new)}: take what `features` captured of it")
        return output.with_x(merged(module, output, output.x, new.x))

    def merged(module: nn.Module, output: Any, old: Any, new: Any) -> Tensor:
        if not isinstance(old, Tensor) or not isinstance(new, Tensor) or old.shape != new.shape:
            raise VitrailError(f"{name} gives {_described(old)}, and cannot give {_described(new)} instead")
        return torch.where(_asked(name, module, output, heads, rows), new, old)

    return hook


def _asked(
    name: str, module: nn.Module, output: Tokens | Tensor, heads: list[int] | None, rows: list[int] | str | None
) -> Bool[Tensor, "..."]:
    """Which part of what a module gives is replaced."""
    x = output.x if isinstance(output, Tokens) else output
    mask = torch.ones(1, dtype=torch.bool)
    if isinstance(rows, str):
        if not isinstance(output, Tokens):
            raise VitrailError(f"{name} does not give Tokens, so its prefix is not known: ask for rows by number")
        rows = list(range(output.prefix))
    if rows is not None:
        if x.ndim != 3 and not isinstance(module, ATTENDS):
            raise VitrailError(
                f"{name} gives {_described(x)}, which has no rows of tokens: name a block, or replace all"
            )
        mask = marked(rows, x.shape[-2], "row", name)[:, None]
    if heads is not None:
        if not isinstance(module, ATTENDS):
            raise VitrailError(f"{name} has no heads to choose: name the Attend inside it, such as {name}.attend")
        mask = mask & marked(heads, x.shape[1], "head", name)[:, None, None]
    return mask.to(x.device)


def _described(value: Any) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
