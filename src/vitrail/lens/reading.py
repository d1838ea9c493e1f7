"""The tokens that a model's head reads, and their names: one rule for maps, pages and attribution."""

from torch import nn

from ..nn import CLASS_TOKEN, NamesPrefix, ReadsTokens, TokensRead


def stated_reading(model: nn.Module) -> TokensRead | None:
    """The tokens that a model's head reads; None if no module of the model states them, see `nn.ReadsTokens`."""
    return next((part.reads for part in model.modules() if isinstance(part, ReadsTokens)), None)


def head_reading(model: nn.Module) -> TokensRead:
    """As `stated_reading`, and the class token if nothing is stated: where there is none, the patches."""
    return stated_reading(model) or CLASS_TOKEN


def prefix_names(model: nn.Module, count: int) -> tuple[str, ...]:
    """Names of the first `count` prefix tokens, from the modules that add them, see `nn.NamesPrefix`."""
    names: tuple[str, ...] = ()
    for part in model.modules():
        if isinstance(part, NamesPrefix):
            names = part.names_after(names)
    return (*names, *(f"prefix token {number}" for number in range(len(names) + 1, count + 1)))[:count]


def reading_words(model: nn.Module, prefix: int) -> str:
    """What maps of layers with `prefix` prefix tokens show, such as "Attention of the class token"."""
    reads = head_reading(model).within(prefix)
    names = [f"the {name}" for name in prefix_names(model, prefix)]
    parts = [names[number] for number in reads.prefix] + ["the patches"] * reads.patches
    if reads.prefix:
        return f"Attention of {' and '.join(parts)}"
    return "Attention that each patch receives" + (", at the end from the pool" if reads.weighted else "")
