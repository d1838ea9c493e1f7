"""The blocks of a row are alike: two depths give any other, in a fraction of the time."""

from collections.abc import Callable

from ..models.registry import Config, override

Numbers = tuple[int, ...]


def by_depth(config: Config, measure: Callable[[Config], Numbers], *, least: int) -> Numbers:
    """`measure(config)`, along a line through the depths `least` and `least + 1` where the config is deeper.

    Configs without a single depth are measured as they are, and those with drop path too, whose blocks differ.
    """
    depth = getattr(config, "depth", None)
    if not isinstance(depth, int) or depth <= least + 1 or getattr(config, "drop_path", None):
        return measure(config)
    few, more = (measure(override(config, {"depth": least + extra}, type(config).__name__)) for extra in (0, 1))
    return tuple(low + (high - low) * (depth - least) for low, high in zip(few, more, strict=True))
