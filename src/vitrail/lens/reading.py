"""The tokens that a model's head reads, and their names: one rule for maps, pages and attribution."""

from dataclasses import replace

from torch import nn

from ..nn import CLASS_TOKEN, NamesPrefix, PrefixForEachFrame, ReadsTokens, TokensRead


def stated_reading(model: nn.Module) -> TokensRead | None:
    """The tokens that a model's head reads; None if no module of the model states them, see `nn.ReadsTokens`."""
    stated = next((part.reads for part in model.modules() if isinstance(part, ReadsTokens)), None)
    if stated and _has_prefix_for_each_frame(model):
        return replace(stated, repeat=len(_added_names(model)))
    return stated


def head_reading(model: nn.Module) -> TokensRead:
    """As `stated_reading`, and the class token if nothing is stated: where there is none, the patches."""
    return stated_reading(model) or CLASS_TOKEN


def prefix_names(model: nn.Module, count: int) -> tuple[str, ...]:
    """Names of the first `count` prefix tokens, from the modules that add them, see `nn.NamesPrefix`."""
    names = _added_names(model)
    if names and _has_prefix_for_each_frame(model):
        names = tuple(f"{name} of frame {frame + 1}" for frame in range(count // len(names)) for name in names)
    return (*names, *(f"prefix token {number}" for number in range(len(names) + 1, count + 1)))[:count]


def reading_words(model: nn.Module, prefix: int) -> str:
    """What maps of layers with `prefix` prefix tokens show, such as "Attention of the class token"."""
    reads = head_reading(model)
    if prefix and reads.repeat:
        return f"Attention of the {' and '.join(_added_names(model)[number] for number in reads.prefix)} of each frame"
    reads = reads.within(prefix)
    names = [f"the {name}" for name in prefix_names(model, prefix)]
    parts = [names[number] for number in reads.prefix] + ["the patches"] * reads.patches
    if reads.prefix:
        return f"Attention of {' and '.join(parts)}"
    return "Attention that each patch receives" + (", at the end from the pool" if reads.weighted else "")


def _added_names(model: nn.Module) -> tuple[str, ...]:
    names: tuple[str, ...] = ()
    for part in model.modules():
        if isinstance(part, NamesPrefix):
            names = part.names_after(names)
    return names


def _has_prefix_for_each_frame(model: nn.Module) -> bool:
    return any(isinstance(part, PrefixForEachFrame) for part in model.modules())
