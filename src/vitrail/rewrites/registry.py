"""Registry of rewrites; they are written to model.json, from which `build` applies them again."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from ..errors import VitrailError, nearest
from ..nn import BaseVisionModel
from ..nn.init import without_weights
from ..plain import short
from ..typed import build
from .base import Rewrite
from .fold import FoldBatchNorm, FoldLayerScale
from .heads import DropHeads
from .lora import LoRA, MergeLoRA, merged_state
from .norm_affine import FoldNormAffine
from .positions import BakePositions
from .preprocess import FoldPreprocess
from .query_scale import FoldQueryScale
from .read_tokens import ReadTokensOnly
from .tokens import FuseTokens, MergeTokens, PruneTokens

ModelT = TypeVar("ModelT", bound=BaseVisionModel)

REWRITES: dict[str, type[Rewrite]] = {
    "bake_positions": BakePositions,
    "drop_heads": DropHeads,
    "fold_batch_norm": FoldBatchNorm,
    "fold_layer_scale": FoldLayerScale,
    "fold_norm_affine": FoldNormAffine,
    "fold_preprocess": FoldPreprocess,
    "fold_query_scale": FoldQueryScale,
    "fuse_tokens": FuseTokens,
    "lora": LoRA,
    "merge_lora": MergeLoRA,
    "merge_tokens": MergeTokens,
    "prune_tokens": PruneTokens,
    "read_tokens_only": ReadTokensOnly,
}
"""All rewrites by name; `register_rewrite` adds one."""


def rewrite(model: ModelT, change: Rewrite | str) -> ModelT:
    """Return a rewritten copy of a model; `save` records the rewrite, and `load` repeats it.

    Args:
        model: the model to copy; it is not changed.
        change: a name in `REWRITES` (with default options), or a rewrite such as `FoldLayerScale()`.

    Raises:
        VitrailError: unknown name, or the model has nothing to change.
    """
    made = from_dict({"name": change}) if isinstance(change, str) else change
    return replay(copy.deepcopy(model), [made])


def replay(model: ModelT, changes: Iterable[Rewrite]) -> ModelT:
    """Apply rewrites to a model in place, in order, and return it."""
    for change in changes:
        name_of(change)
        change(model)
        model.rewrites = change.recorded(model.rewrites)
    return model


def merge_lora(model: ModelT) -> ModelT:
    """A model with the low-rank updates of this one added to its weights; the model itself if it has none."""
    others = tuple(change for change in model.rewrites if not isinstance(change, LoRA))
    if others == model.rewrites:
        return model
    with without_weights():
        merged = replay(model.config.build(), others)
    merged.load_state_dict(merged_state(model), assign=True)
    return merged.train(model.training)


def register_rewrite(name: str, kind: type[Rewrite]) -> None:
    """Register a rewrite class: a frozen dataclass that inherits from `Rewrite`.

    Raises:
        VitrailError: the name belongs to another rewrite.
    """
    if REWRITES.setdefault(name, kind) is not kind:
        raise VitrailError(f"{name!r} is already the name of another rewrite: choose another")


def to_dict(change: Rewrite) -> dict[str, Any]:
    """Return a rewrite as plain JSON values: its name under "name", and its options."""
    return {"name": name_of(change), **{field.name: getattr(change, field.name) for field in fields(change)}}


def from_dict(values: Mapping[str, Any]) -> Rewrite:
    """Inverse of `to_dict`; missing options have their defaults.

    Raises:
        VitrailError: unknown name or option; the message suggests the nearest one.
    """
    rest = dict(values)
    name = rest.pop("name", "")
    if not isinstance(name, str) or name not in REWRITES:
        raise VitrailError(f"there is no rewrite {short(name)}: {nearest(str(name)[:80], REWRITES)}")
    valid = [field.name for field in fields(REWRITES[name])]
    for key in rest:
        if key not in valid:
            raise VitrailError(
                f"rewrite {name} has no option {key!r}: {nearest(key, valid) if valid else 'it has none'}"
            )
    return build(REWRITES[name], rest, f"rewrite {name}")


def name_of(change: Rewrite) -> str:
    """The name of a rewrite in `REWRITES`."""
    for name, kind in REWRITES.items():
        if type(change) is kind:
            return name
    raise VitrailError(
        f"{type(change).__name__} is not registered: call register_rewrite(name, {type(change).__name__})"
    )
