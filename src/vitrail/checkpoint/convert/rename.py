"""Rules that rename state dicts, in both directions.

A `Rule` pairs one of our names with the names of the same tensor in another library; a `Layout` has all rules of one
source. `{i}` stands for a block's number, `{s}` for a stage's number, `{p}` for weight or bias, `{b}` for these and the
statistics of a batch norm, `{f}` for those of a frozen batch norm, and `{x}` for anything. If their tensor is stored in
several parts or with other axes, a `Transform` joins the parts and splits them again.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

_STATISTICS = "running_mean|running_var"
_WILD = {
    "i": r"\d+",
    "s": r"\d+",
    "p": "weight|bias",
    "b": f"weight|bias|{_STATISTICS}|num_batches_tracked",
    "f": f"weight|bias|{_STATISTICS}",
    "x": ".+",
}


@dataclass(frozen=True, slots=True)
class Transform:
    """Conversion of their tensors to ours and back; `split` also gets the number of heads."""

    join: Callable[..., Tensor]
    split: Callable[[Tensor, int], tuple[Tensor, ...]]


SAME = Transform(lambda tensor: tensor, lambda tensor, heads: (tensor,))
STACK = Transform(lambda *rows: torch.cat(rows), lambda joint, heads: joint.chunk(3))
PAIR = Transform(lambda *rows: torch.cat(rows), lambda joint, heads: joint.chunk(2))
TOKENS = Transform(lambda *tokens: torch.cat(tokens, dim=1), lambda joint, heads: joint.split(1, dim=1))


def _without_keys(bias: Tensor) -> Tensor:
    query, _, value = bias.chunk(3)
    return torch.cat([query, value])


def _with_zero_keys(bias: Tensor, heads: int) -> tuple[Tensor, ...]:
    query, value = bias.chunk(2)
    return (torch.cat([query, torch.zeros_like(query), value]),)


# A bias of the keys has no effect after the softmax; some sources store one that is always zero.
WITHOUT_KEYS = Transform(_without_keys, _with_zero_keys)


@dataclass(frozen=True, slots=True)
class Rule:
    """Maps `theirs`, one name or several, to `ours`.

    If `ours` is a tuple, the tensor is split evenly along dimension 0.
    """

    ours: str | tuple[str, ...]
    theirs: tuple[str, ...]
    transform: Transform = SAME

    @property
    def parts(self) -> tuple[str, ...]:
        """Our names as a tuple, also if there is only one."""
        return (self.ours,) if isinstance(self.ours, str) else self.ours


@dataclass(frozen=True, slots=True)
class Place:
    """A rule with its wildcards replaced."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    rule: Rule


@dataclass(frozen=True, slots=True)
class Layout:
    """Names of the tensors of one source.

    Attributes:
        name: name of the source, for messages.
        rules: the rules; each name occurs once, so that they can be inverted.
        unused: names of tensors that are not needed for classification; they are left out, and reported.
        prefixes: optional prefixes of names, removed first.
        fields: config fields of the source's models that cannot be inferred from their tensors.
        preprocess: fields of `Preprocess` for the source's models, used if nothing else is known.
        computed: names of stored tensors that our models compute -> what they compute for a config, to compare with.
        ambiguous: config fields in which sources with these names differ -> the choices, for messages.
        proof: names that only the release has; with one of them nothing is ambiguous.
        doubt: sentence on other models with the same tensors, noted if no architecture is given.
        stacked: their names of tensors of all blocks in one -> axis of the blocks; rules call the parts NAME.{i}.
    """

    name: str
    rules: tuple[Rule, ...]
    unused: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    computed: Mapping[str, Callable[[Any], Tensor]] = field(default_factory=dict)
    ambiguous: Mapping[str, str] = field(default_factory=dict)
    proof: frozenset[str] = frozenset()
    doubt: str = ""
    stacked: Mapping[str, int] = field(default_factory=dict)

    def strip(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the state with the prefix removed from every name that has one."""
        pattern = re.compile("|".join(f"^{re.escape(prefix)}" for prefix in self.prefixes) or "(?!)")
        return {pattern.sub("", name): tensor for name, tensor in state.items()}

    def unstack(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the state with prefixes removed, and with a tensor for each block in place of the stacked ones."""
        result: dict[str, Tensor] = {}
        for name, tensor in self.strip(state).items():
            parts = tensor.unbind(self.stacked[name]) if name in self.stacked else ()
            result |= {f"{name}.{index}": part for index, part in enumerate(parts)} or {name: tensor}
        return result

    def stack(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Inverse of `unstack`, without the prefixes."""
        result = dict(state)
        for name, axis in self.stacked.items():
            parts = [part for part in result if part.rpartition(".")[0] == name]
            parts.sort(key=lambda part: int(part.rpartition(".")[2]))
            if parts:
                result[name] = torch.stack([result.pop(part) for part in parts], dim=axis)
        return result

    def known(self, state: Mapping[str, Tensor]) -> int:
        """Number of names in the state for which this layout has a rule."""
        pattern = _any_of((*(name for rule in self.rules for name in rule.theirs), *self.unused, *self.computed))
        return sum(pattern.fullmatch(name) is not None for name in self.unstack(state))

    def place_of_theirs(self, name: str) -> Place | None:
        """Rule for a name of theirs, or None."""
        return self._place(name, lambda rule: rule.theirs)

    def place_of_ours(self, name: str) -> Place | None:
        """Rule for a name of ours, or None."""
        return self._place(name, lambda rule: rule.parts)

    def _place(self, name: str, side: Callable[[Rule], tuple[str, ...]]) -> Place | None:
        for rule in self.rules:
            for template in side(rule):
                match = _pattern(template).fullmatch(name)
                if match:
                    ours, theirs = (
                        tuple(text.format(**match.groupdict()) for text in names) for names in (rule.parts, rule.theirs)
                    )
                    return Place(ours, theirs, rule)
        return None


@dataclass(frozen=True, slots=True)
class Renamed:
    """A state dict with our names.

    Attributes:
        state: the renamed tensors.
        incomplete: missing names of theirs for tensors of which other parts are present.
        unexpected: their names without a rule.
        unused: their names that are not needed for classification.
    """

    state: dict[str, Tensor]
    incomplete: tuple[str, ...]
    unexpected: tuple[str, ...]
    unused: tuple[str, ...]


def to_ours(state: Mapping[str, Tensor], layout: Layout) -> Renamed:
    """Rename a state dict to our names."""
    places: dict[tuple[str, ...], Place] = {}
    unexpected, unused = [], []
    stripped = layout.unstack(state)
    for name in stripped:
        place = layout.place_of_theirs(name)
        if place:
            places.setdefault(place.ours, place)
        elif name in layout.computed:
            continue
        elif any(_pattern(pattern).fullmatch(name) for pattern in layout.unused):
            unused.append(name)
        else:
            unexpected.append(name)
    complete: dict[str, Tensor] = {}
    incomplete: list[str] = []
    for place in places.values():
        missing = [name for name in place.theirs if name not in stripped]
        incomplete += missing
        if not missing:
            joined = place.rule.transform.join(*(stripped[name] for name in place.theirs))
            parts = (joined,) if len(place.ours) == 1 else joined.chunk(len(place.ours))
            complete.update(zip(place.ours, parts, strict=True))
    return Renamed(complete, tuple(incomplete), tuple(unexpected), tuple(unused))


def to_theirs(state: Mapping[str, Tensor], layout: Layout, num_heads: int) -> dict[str, Tensor]:
    """Inverse of `to_ours`: rename our state dict to their names."""
    result: dict[str, Tensor] = {}
    for name in state:
        place = layout.place_of_ours(name)
        if place is None:
            raise KeyError(f"{layout.name} has no name for {name}")
        if name == place.ours[0]:
            parts = [state[part] for part in place.ours]
            joined = parts[0] if len(parts) == 1 else torch.cat(parts)
            result.update(zip(place.theirs, place.rule.transform.split(joined, num_heads), strict=True))
    return layout.stack(result)


def linear(ours: str | tuple[str, ...], *theirs: str, transform: Transform | None = None) -> Rule:
    """Rule for weight and bias of a layer; several names on either side are stacked.

    A name of theirs may contain the place of "weight" or "bias", as in "in_proj_{p}".
    """
    names = tuple(name if "{p}" in name else f"{name}.{{p}}" for name in theirs)
    mine = f"{ours}.{{p}}" if isinstance(ours, str) else tuple(f"{name}.{{p}}" for name in ours)
    return Rule(mine, names, transform or (SAME if len(theirs) == 1 else STACK))


def batch_norm(ours: str, theirs: str) -> Rule:
    """Rule for weight, bias and statistics of a batch norm."""
    return Rule(f"{ours}.{{b}}", (f"{theirs}.{{b}}",))


@cache
def _any_of(templates: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(re.sub(r"\?P<\w>", "?:", _pattern(template).pattern) for template in templates))


@cache
def _pattern(template: str) -> re.Pattern[str]:
    parts: list[Any] = re.split(r"\{(\w)\}", template)
    return re.compile(
        "".join(f"(?P<{text}>{_WILD[text]})" if index % 2 else re.escape(text) for index, text in enumerate(parts))
    )
