"""Costs of deep models, extrapolated from two shallow ones, since equal blocks cost the same."""

from collections.abc import Callable

from ..models.fields import ModelConfig
from ..models.registry import override
from ..rewrites.base import Rewrite

Numbers = tuple[int, ...]


def by_depth(
    config: ModelConfig, measure: Callable[[ModelConfig], Numbers], *, least: int, rewrites: tuple[Rewrite, ...] = ()
) -> Numbers:
    """`measure(config)`, extrapolated linearly from two depths of at least `least` if the config is deeper.

    A config with different blocks (`equal_blocks` is 0), or whose blocks are rewritten, is measured directly. If kinds
    of blocks alternate (`period`), the two depths differ by a period.
    """
    depth, period = config.equal_blocks, config.period
    if rewrites or depth <= least + period:
        return measure(config)
    times, rest = divmod(depth - least, period)
    depths = least + rest, least + rest + period
    few, more = (measure(override(config, {"depth": shallow}, type(config).__name__)) for shallow in depths)
    return tuple(low + (high - low) * times for low, high in zip(few, more, strict=True))
