"""Checks of config values, made when a config is created."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import VitrailError
from ..plain import short
from ..task_spec import TaskSpec

_COUNTS = ("in_channels", "embed_dim", "depth", "num_frames", "tubelet_frames", "class_depth", "decoder_depth")
"""Fields that are whole numbers of at least 1."""
_SIZES = ("image_size", "patch_size")
"""Fields that are a side or (height, width)."""
_POSITIVE = ("mlp_ratio", "norm_eps", "head_norm_eps", "pool_norm_eps", "window_size")
"""Fields that are numbers above 0."""
_RATES = ("drop_path", "dropout")
"""Fields that are probabilities."""
_BLOCKS = ("block_heads", "block_head_dims", "block_mlp_dims")
"""Fields with one entry for each block, or empty."""
_STAGES = ("depths", "embed_dims", "num_heads", "mlp_ratios", "reductions")
"""Fields with one entry for each stage, in families that have stages."""


_LOOPS = (
    "depth",
    "depths",
    "class_depth",
    "decoder_depth",
    "backbone_depths",
    "num_frames",
    "tubelet_frames",
    "levels",
)
"""Fields that count modules, each of which takes memory and time even in a model without weights."""
_FEW_LOOPS = ("branches", "doublings")
_MOST, _MOST_LOOPS, _MOST_FEW, _MOST_SIDE, _MOST_PATCHES = 2**24, 1_000, 30, 32_768, 2**20


def check_values(kind: str, values: Mapping[str, Any]) -> None:
    """Check the fields of a config.

    Args:
        kind: class name of the config, for messages.
        values: fields of the config.

    Raises:
        VitrailError: the first invalid value, with the rule and an example.
    """
    for name, value in values.items():
        _check_size(kind, name, value)
        if name in _COUNTS and not _count(value, least=1):
            raise VitrailError(f"{kind} has {name}={short(value)}: it must be a whole number of at least 1")
        if name == "num_classes" and not _count(value, least=0):
            raise VitrailError(
                f"{kind} has num_classes={short(value)}: give a whole number, or 0 for a model without classes"
            )
        if name in _SIZES and not _size(value):
            raise VitrailError(
                f"{kind} has {name}={short(value)}: give a side such as 224, or (height, width), in pixels"
            )
        if name.endswith("_eps") and not (isinstance(value, (int, float)) and 0 <= value < 1):
            raise VitrailError(
                f"{kind} has {name}={short(value)}: it is a small number such as 1e-6, from 0 to below 1"
            )
        if name in _RATES and not (isinstance(value, (int, float)) and 0 <= value < 1):
            raise VitrailError(f"{kind} has {name}={short(value)}: it is a probability, from 0 to below 1")
        if name in _POSITIVE and not _positive(value):
            raise VitrailError(f"{kind} has {name}={short(value)}: it must be a number above 0")
        if name == "registers" and not _count(value, least=0):
            raise VitrailError(f"{kind} has registers={short(value)}: give a whole number, or 0 for none")
        if name == "task" and not isinstance(value, TaskSpec):
            raise VitrailError(
                f"{kind} has task={short(value)}: give a TaskSpec, such as TaskSpec.parse({str(value)!r})"
            )
    _check_patches(kind, values)
    _check_blocks(kind, values)
    _check_stages(kind, values)
    _check_heads(kind, values)


def _check_size(kind: str, name: str, value: Any) -> None:
    """Check that numbers are finite and not so large that the model alone, without weights, fills the memory."""
    most = _MOST_LOOPS if name in _LOOPS else _MOST_FEW if name in _FEW_LOOPS else _MOST
    most = _MOST_SIDE if name in _SIZES else most
    numbers = list(_numbers(value))
    counts = [number for number in numbers if isinstance(number, int)]
    if (
        len(numbers) > _MOST_LOOPS
        or not all(map(math.isfinite, numbers))
        or not all(-most <= n <= most for n in counts)
    ):
        raise VitrailError(f"{kind} has {name}={short(value)}: numbers must be finite and at most {most:,}")


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, tuple | list):
        for entry in value:
            yield from _numbers(entry)
    elif isinstance(value, int | float):
        yield value


def _check_patches(kind: str, values: Mapping[str, Any]) -> None:
    size, patch = values["image_size"], values.get("patch_size", 1)
    sides = zip(*(side if isinstance(side, tuple) else (side, side) for side in (size, patch)), strict=True)
    count = math.prod(-(-side // step) for side, step in sides)
    if count > _MOST_PATCHES and "patch_size" in values:
        raise VitrailError(
            f"{kind} has image_size={size} and patch_size={patch}, which are {count:,} patches: use at most "
            f"{_MOST_PATCHES:,}"
        )


def _check_blocks(kind: str, values: Mapping[str, Any]) -> None:
    for name in _BLOCKS:
        entries = values.get(name)
        if not entries:
            continue
        if len(entries) != values["depth"] or not all(_count(entry, least=1) for entry in entries):
            raise VitrailError(
                f"{kind} has {name}={short(entries)} for depth={values['depth']}: give a whole number from 1 for each "
                "block"
            )


def _check_stages(kind: str, values: Mapping[str, Any]) -> None:
    stages = {name: values[name] for name in _STAGES if isinstance(values.get(name), tuple)}
    if "depths" in stages and len({len(entries) for entries in stages.values()}) > 1:
        given = ", ".join(f"{name}={entries}" for name, entries in stages.items())
        raise VitrailError(f"{kind} has different numbers of stages, {given}: give each field one entry for each stage")
    for name, entries in stages.items():
        if name != "mlp_ratios" and not all(_count(entry, least=1) for entry in entries):
            raise VitrailError(f"{kind} has {name}={short(entries)}: entries must be whole numbers of at least 1")


def _check_heads(kind: str, values: Mapping[str, Any]) -> None:
    heads = values.get("num_heads")
    if isinstance(heads, tuple) or heads is None:
        return
    if not _count(heads, least=1):
        raise VitrailError(f"{kind} has num_heads={short(heads)}: it must be a whole number of at least 1")
    if "embed_dim" in values and values["embed_dim"] % heads:
        raise VitrailError(
            f"{kind} has embed_dim={values['embed_dim']}, not a multiple of num_heads={heads}: choose a multiple"
        )


def _positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _count(value: Any, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _size(value: Any) -> bool:
    sides = value if isinstance(value, tuple) else (value, value)
    return len(sides) == 2 and all(_count(side, least=1) for side in sides)
