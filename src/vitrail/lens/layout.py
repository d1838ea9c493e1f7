"""Where the queries and keys of an attention lie in the picture."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..nn import Places, Tokens


@dataclass(frozen=True, slots=True)
class Layout:
    """How the tokens of a layer fold back into the picture; see `Tokens`.

    Attributes:
        grid, prefix: of the tokens that look.
        key_grid, key_prefix: of those that are looked at; another grid where keys are reduced (PVT, CvT).
        places: where the layer looks inside groups (windows, frames, lines), or not from all tokens: the tokens of
            each group. None where all look at all.
    """

    grid: tuple[int, ...]
    prefix: int
    key_grid: tuple[int, ...]
    key_prefix: int
    places: Places | None = None

    @property
    def queries(self) -> int:
        """How many tokens look."""
        return self.prefix + torch.Size(self.grid).numel()

    @property
    def keys(self) -> int:
        """How many tokens are looked at."""
        return self.key_prefix + torch.Size(self.key_grid).numel()


def over_picture(weights: Float[Tensor, "BG h n m"], layout: Layout) -> Float[Tensor, "B h N M"]:
    """Weights of groups, as `observe` gives them, over all tokens of the picture; 0 where a token cannot look.

    A token that stands in several groups (a class token in every frame) gets their mean, as the layers do it.
    """
    places = layout.places
    if places is None:
        return weights
    groups = weights.unflatten(0, (-1, places.queries.shape[0]))
    out = weights.new_zeros(groups.shape[0], weights.shape[1], layout.queries + 1, layout.keys + 1)  # last: nowhere
    for group, (queries, keys) in enumerate(zip(places.queries, places.keys, strict=True)):
        out[:, :, queries[:, None], keys] += groups[:, group]
    met = torch.bincount(places.queries.flatten() % (layout.queries + 1), minlength=layout.queries + 1)
    return (out / met.clamp(min=1)[:, None])[:, :, :-1, :-1]


def received(weights: Float[Tensor, "BG h n m"], layout: Layout) -> Float[Tensor, "B h M"]:
    """How much attention each key gets, the mean over all that look; sums to 1, less what goes to padding."""
    places = layout.places
    if places is None:
        return weights.mean(dim=2)
    looks = places.queries >= 0
    met = torch.bincount(places.queries[looks], minlength=layout.queries).to(weights.dtype)
    share = torch.where(looks, 1 / met[places.queries.clamp(min=0)] / met.count_nonzero(), 0.0)
    groups = torch.einsum("bghnm,gn->bhgm", weights.unflatten(0, (-1, looks.shape[0])), share).flatten(2)
    out = weights.new_zeros(*groups.shape[:2], layout.keys + 1)
    return out.index_add_(2, (places.keys % (layout.keys + 1)).flatten(), groups)[:, :, :-1]


class Surroundings:
    """What the modules around an `Attend` were given in this pass, told by hooks: enough to know its layout.

    Args:
        model: the model that is watched.
        attend: full name of an `Attend` inside it.
    """

    def __init__(self, model: nn.Module, attend: str) -> None:
        self._model = model
        self._owner = attend.rpartition(".")[0]
        self._given: dict[str, _Given] = {}
        self._made: list[tuple[tuple[int, ...], int | None]] = []

    def hooks(self) -> Iterator[Callable[[], None]]:
        """Hang up the hooks; yields what takes each down again."""
        for name in _ancestors(self._owner):
            module = self._model.get_submodule(name)
            yield module.register_forward_pre_hook(self._note(name), with_kwargs=True).remove
        projection = getattr(self._model.get_submodule(self._owner), "qkv", None)
        for module in projection.modules() if isinstance(projection, nn.Module) else ():
            yield module.register_forward_hook(self._note_made).remove

    def layout(self, queries: int, keys: int) -> Layout | None:
        """Of an attention that was given so many queries and keys; None where no Tokens came by."""
        around = [self._given[name] for name in _ancestors(self._owner) if name in self._given]
        if not around:
            return None
        for given in around:
            if given.places is not None:
                return Layout(given.grid, given.prefix, given.grid, given.prefix, given.places)
        one = next((given for given in around if given.count == queries), _Given((queries,), 0, queries))
        made = [_given(grid, one.prefix if prefix is None else prefix) for grid, prefix in reversed(self._made)]
        other = next((given for given in (*made, *around) if given.count == keys), _Given((keys,), 0, keys))
        return Layout(one.grid, one.prefix, other.grid, other.prefix)

    def _note(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if name == self._owner:
                self._made.clear()
            for value in (*args, *kwargs.values()):
                if isinstance(value, Tokens):
                    count, cut = value.x.shape[1], getattr(module, "places_of", None)
                    # Patches of several sizes do not fill their grid: they are one long row.
                    regular = _given(value.grid, value.prefix).count == count
                    grid = tuple(value.grid) if regular else (count - value.prefix,)
                    self._given[name] = _Given(grid, value.prefix, count, cut(value) if cut else None)
                    return

        return hook

    def _note_made(self, module: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, Tokens):
            self._made.append((tuple(output.grid), output.prefix))
        elif isinstance(output, Tensor) and output.ndim == 4:  # a map: prefix tokens go beside it
            self._made.append((tuple(output.shape[2:]), None))


@dataclass(frozen=True, slots=True)
class _Given:
    """A sequence that went into a module."""

    grid: tuple[int, ...]
    prefix: int
    count: int
    places: Places | None = None


def _given(grid: tuple[int, ...], prefix: int) -> _Given:
    return _Given(grid, prefix, prefix + torch.Size(grid).numel())


def _ancestors(name: str) -> Iterator[str]:
    """A module and those around it, from the inside out; the model itself is ""."""
    while name:
        yield name
        name = name.rpartition(".")[0]
    yield name


def rows_of_groups(places: Places, rows: list[int]) -> tuple[Int[Tensor, " _"], Int[Tensor, " _"], Int[Tensor, " _"]]:
    """Where tokens stand as queries: for each time that one does, its index in `rows`, the group, the query there."""
    wanted = torch.tensor(rows, device=places.queries.device)
    index, group, query = (places.queries[None] == wanted[:, None, None]).nonzero(as_tuple=True)
    return index, group, query
