"""Costs of deep models by extrapolation from two shallow ones: equal blocks cost the same."""

from collections.abc import Callable

from ..models.fields import ModelConfig
from ..models.registry import override

Numbers = tuple[int, ...]


def by_depth(config: ModelConfig, measure: Callable[[ModelConfig], Numbers], *, least: int) -> Numbers:
    """`measure(config)`, extrapolated linearly from two depths of at least `least` where the config is deeper.

    A config whose blocks differ (`equal_blocks` is 0) is measured as it is. Where blocks take turns (`period`), the two
    depths are a period apart.
    """
    depth, period = config.equal_blocks, config.period
    if depth <= least + period:
        return measure(config)
    times, rest = divmod(depth - least, period)
    depths = least + rest, least + rest + period
    few, more = (measure(override(config, {"depth": shallow}, type(config).__name__)) for shallow in depths)
    return tuple(low + (high - low) * times for low, high in zip(few, more, strict=True))
