"""Tables that translate state dicts, read in both directions.

A `Rule` pairs one of our names with the names of the same tensor elsewhere; a `Layout` is all rules of one
source. `{i}` stands for a block's number, `{s}` for a stage's, `{p}` for weight or bias and `{b}` for all of a batch
norm; `{x}` for anything, in names of unused tensors. Where theirs is stored in several parts, or along other axes, a
`Transform` joins them and splits them again.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

_WILD = {
    "i": r"\d+",
    "s": r"\d+",
    "p": "weight|bias",
    "b": "weight|bias|running_mean|running_var|num_batches_tracked",
    "x": ".+",
}


@dataclass(frozen=True, slots=True)
class Transform:
    """Their tensors -> ours, and back: `split` also gets the number of heads, which ours does not show."""

    join: Callable[..., Tensor]
    split: Callable[[Tensor, int], tuple[Tensor, ...]]


SAME = Transform(lambda tensor: tensor, lambda tensor, heads: (tensor,))
STACK = Transform(lambda *rows: torch.cat(rows), lambda joint, heads: joint.chunk(3))
TOKENS = Transform(lambda *tokens: torch.cat(tokens, dim=1), lambda joint, heads: joint.split(1, dim=1))


@dataclass(frozen=True, slots=True)
class Rule:
    """`ours` is made of `theirs`, one name or several."""

    ours: str
    theirs: tuple[str, ...]
    transform: Transform = SAME


@dataclass(frozen=True, slots=True)
class Layout:
    """How one source names its tensors.

    Attributes:
        name: of the source, for messages.
        rules: an inverse is possible because each name occurs once.
        unused: names of tensors that classification does not use; they are left out, and that is reported.
        prefixes: what may stand in front of names, and is taken off first.
        fields: what the source's models do that their tensors do not show, as fields of our configs.
        preprocess: what the source's models expect when nothing else is known, as fields of `Preprocess`.
    """

    name: str
    rules: tuple[Rule, ...]
    unused: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)

    def strip(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state with a leading prefix taken off every name that has it."""
        pattern = re.compile("|".join(f"^{re.escape(prefix)}" for prefix in self.prefixes) or "(?!)")
        return {pattern.sub("", name): tensor for name, tensor in state.items()}

    def known(self, state: Mapping[str, Tensor]) -> int:
        """How many of the names this layout has a rule for."""
        pattern = _any_of(tuple(name for rule in self.rules for name in rule.theirs))
        return sum(pattern.fullmatch(name) is not None for name in self.strip(state))

    def place(self, name: str) -> tuple[str, Rule, int] | None:
        """Where their tensor goes: our name, the rule, and which part of it this is."""
        for rule in self.rules:
            for part, theirs in enumerate(rule.theirs):
                match = _pattern(theirs).fullmatch(name)
                if match:
                    return rule.ours.format(**match.groupdict()), rule, part
        return None

    def their_names(self, ours: str) -> tuple[tuple[str, ...], Rule] | None:
        """What they call our tensor, and the rule that says so."""
        for rule in self.rules:
            match = _pattern(rule.ours).fullmatch(ours)
            if match:
                return tuple(name.format(**match.groupdict()) for name in rule.theirs), rule
        return None


@dataclass(frozen=True, slots=True)
class Renamed:
    """A state dict under our names.

    Attributes:
        state: what was understood.
        incomplete: their names that are missing beside others of the same tensor.
        unexpected: their names that no rule knows.
        unused: their names that classification does not use.
    """

    state: dict[str, Tensor]
    incomplete: tuple[str, ...]
    unexpected: tuple[str, ...]
    unused: tuple[str, ...]


def to_ours(state: Mapping[str, Tensor], layout: Layout) -> Renamed:
    """Translate a state dict to our names."""
    parts: dict[str, tuple[Rule, dict[int, Tensor]]] = {}
    unexpected, unused = [], []
    stripped = layout.strip(state)
    for name, tensor in stripped.items():
        placed = layout.place(name)
        if placed:
            ours, rule, part = placed
            parts.setdefault(ours, (rule, {}))[1][part] = tensor
        elif any(_pattern(pattern).fullmatch(name) for pattern in layout.unused):
            unused.append(name)
        else:
            unexpected.append(name)
    complete, incomplete = {}, []
    for ours, (rule, tensors) in parts.items():
        if len(tensors) == len(rule.theirs):
            complete[ours] = rule.transform.join(*(tensors[part] for part in range(len(rule.theirs))))
        else:
            names, _ = layout.their_names(ours) or ((ours,), rule)
            incomplete += [name for name in names if name not in stripped]
    return Renamed(complete, tuple(incomplete), tuple(unexpected), tuple(unused))


def to_theirs(state: Mapping[str, Tensor], layout: Layout, num_heads: int) -> dict[str, Tensor]:
    """The inverse of `to_ours`: translate our state dict to their names."""
    result: dict[str, Tensor] = {}
    for ours, tensor in state.items():
        found = layout.their_names(ours)
        if found is None:
            raise KeyError(f"{layout.name} has no name for {ours}")
        names, rule = found
        result.update(zip(names, rule.transform.split(tensor, num_heads), strict=True))
    return result


def linear(ours: str, *theirs: str, transform: Transform | None = None) -> Rule:
    """A rule for the weight and the bias of a layer; several of theirs are stacked."""
    names = tuple(f"{name}.{{p}}" for name in theirs)
    return Rule(f"{ours}.{{p}}", names, transform or (SAME if len(theirs) == 1 else STACK))


@cache
def _any_of(templates: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(re.sub(r"\?P<\w>", "?:", _pattern(template).pattern) for template in templates))


@cache
def _pattern(template: str) -> re.Pattern[str]:
    parts: list[Any] = re.split(r"\{(\w)\}", template)
    return re.compile(
        "".join(f"(?P<{text}>{_WILD[text]})" if index % 2 else re.escape(text) for index, text in enumerate(parts))
    )
