"""Positions of the queries and keys of an attention layer in the image."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..nn import AttendsInGroups, AttendsToOthers, Places, Tokens


@dataclass(frozen=True, slots=True)
class Layout:
    """Grid, prefix and cover of a layer's queries and keys, in the sense of `Tokens`.

    Attributes:
        grid, prefix: of the queries.
        key_grid, key_prefix: of the keys; another grid if keys are reduced (PVT, CvT).
        places: the tokens of each group, if the layer attends inside groups (windows, frames, lines) or not from all
            tokens; None if all tokens attend to all.
        cover: the patch token of each cell, (images, *grid), if tokens are hidden, merged or of several sizes.
        key_cover: the same of the keys.
    """

    grid: tuple[int, ...]
    prefix: int
    key_grid: tuple[int, ...]
    key_prefix: int
    places: Places | None = None
    cover: Int[Tensor, "images *grid"] | None = None
    key_cover: Int[Tensor, "images *key_grid"] | None = None

    @property
    def queries(self) -> int:
        """Number of queries in the whole image."""
        return self.prefix + _patches(self.grid, self.cover)

    @property
    def keys(self) -> int:
        """Number of keys in the whole image."""
        return self.key_prefix + _patches(self.key_grid, self.key_cover)


def _patches(grid: tuple[int, ...], cover: Tensor | None) -> int:
    return torch.Size(grid).numel() if cover is None else int(cover.max()) + 1


def over_image(weights: Float[Tensor, "BG h n m"], layout: Layout) -> Float[Tensor, "B h N M"]:
    """Convert weights of groups, as observed, to weights between all tokens of the image; 0 outside a token's group.

    A token in several groups (a class token in every frame) has the mean, as in the layers.
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
    """The attention that each key receives, mean over the queries; sums to 1 less the attention to padding."""
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
    """Hooks on the modules around an `Attend` that record their `Tokens`, from which its layout follows.

    Args:
        model: the observed model.
        attend: full name of an `Attend` inside it.
    """

    def __init__(self, model: nn.Module, attend: str) -> None:
        self._model = model
        self._owner = attend.rpartition(".")[0]
        self._given: dict[str, _Given] = {}
        self._made: list[tuple[tuple[int, ...], int | None]] = []
        self._others: list[_Given] = []

    def hooks(self) -> Iterator[Callable[[], None]]:
        """Register the hooks; yields a function that removes each."""
        for name in _ancestors(self._owner):
            module = self._model.get_submodule(name)
            yield module.register_forward_pre_hook(self._note(name), with_kwargs=True).remove
        projection = dict(self._model.get_submodule(self._owner).named_children()).get("qkv")
        for module in projection.modules() if projection else ():
            yield module.register_forward_hook(self._note_made).remove

    def layout(self, queries: int, keys: int) -> Layout | None:
        """The layout of an attention with so many queries and keys; None if no Tokens were recorded."""
        around = [self._given[name] for name in _ancestors(self._owner) if name in self._given]
        if not around:
            return None
        for given in around:
            if given.places is not None:
                grid, prefix, cover = given.grid, given.prefix, given.cover
                return Layout(grid, prefix, grid, prefix, given.places, cover, cover)
        one = next((given for given in around if queries in given.counts), _Given((queries,), 0, (queries,)))
        made = [_given(grid, one.prefix if prefix is None else prefix) for grid, prefix in reversed(self._made)]
        places = (*self._others, *made, *around)
        other = next((given for given in places if keys in given.counts), _Given((keys,), 0, (keys,)))
        return Layout(one.grid, one.prefix, other.grid, other.prefix, None, one.cover_of(queries), other.cover_of(keys))

    def _note(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if name == self._owner:
                self._made.clear()
            if isinstance(module, AttendsToOthers):
                self._others = [_of_tokens(module.keys_of(*args, **kwargs), None)]
            for value in (*args, *kwargs.values()):
                if isinstance(value, Tokens):
                    groups = module.places_of(value) if isinstance(module, AttendsInGroups) else None
                    self._given[name] = _of_tokens(value, groups)
                    return

        return hook

    def _note_made(self, module: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, Tokens):
            self._made.append((tuple(output.grid), output.prefix))
        elif isinstance(output, Tensor) and output.ndim == 4:  # a map: prefix tokens go beside it
            self._made.append((tuple(output.shape[2:]), None))


@dataclass(frozen=True, slots=True)
class _Given:
    """Tokens that went into a module; `counts` has the number of each packed image, or the one number of all."""

    grid: tuple[int, ...]
    prefix: int
    counts: tuple[int, ...]
    places: Places | None = None
    cover: Tensor | None = None

    def cover_of(self, count: int) -> Tensor | None:
        """The cover of the images with so many tokens, which are attended to together."""
        if self.cover is None or len(self.counts) == 1:
            return self.cover
        return self.cover[torch.tensor(self.counts, device=self.cover.device) == count]


def _given(grid: tuple[int, ...], prefix: int) -> _Given:
    return _Given(grid, prefix, (prefix + torch.Size(grid).numel(),))


def _of_tokens(tokens: Tokens, places: Places | None) -> _Given:
    grid, counts = tuple(tokens.grid), tokens.lengths or (tokens.x.shape[1],)
    plain = _given(grid, tokens.prefix)
    if tokens.cover is None and counts != plain.counts:  # tokens without known cells: one long row
        return _Given((counts[0] - tokens.prefix,), tokens.prefix, counts[:1], places)
    return _Given(grid, tokens.prefix, counts, places, tokens.cover)


def _ancestors(name: str) -> Iterator[str]:
    """Names of a module and of the modules around it, innermost first; the model itself is ""."""
    while name:
        yield name
        name = name.rpartition(".")[0]
    yield name


def rows_of_groups(places: Places, rows: list[int]) -> tuple[Int[Tensor, " _"], Int[Tensor, " _"], Int[Tensor, " _"]]:
    """Each place of the tokens `rows` among the queries: its index in `rows`, the group, the number in the group."""
    wanted = torch.tensor(rows, device=places.queries.device)
    index, group, query = (places.queries[None] == wanted[:, None, None]).nonzero(as_tuple=True)
    return index, group, query
