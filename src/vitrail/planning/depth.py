"""The blocks of a row are alike: two depths give any other, in a fraction of the time."""

from collections.abc import Callable

from ..models.registry import Config, override

Numbers = tuple[int, ...]


def by_depth(config: Config, measure: Callable[[Config], Numbers], *, least: int) -> Numbers:
    """`measure(config)`, along a line through two shallow depths, from `least` on, where the config is deeper.

    Configs without a single depth are measured as they are, and so are those whose blocks differ: by drop path, or
    because a head looks `after` some. A config whose blocks take turns says after how many they repeat, `period`.
    """
    depth, period = getattr(config, "depth", None), getattr(config, "period", 1)
    alike = not getattr(config, "drop_path", None) and not getattr(config, "after", None)
    if not isinstance(depth, int) or depth <= least + period or not alike:
        return measure(config)
    times, rest = divmod(depth - least, period)
    depths = least + rest, least + rest + period
    few, more = (measure(override(config, {"depth": shallow}, type(config).__name__)) for shallow in depths)
    return tuple(low + (high - low) * times for low, high in zip(few, more, strict=True))
