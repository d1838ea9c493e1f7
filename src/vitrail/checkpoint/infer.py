"""Infers the config of a state dict from the shapes of its tensors."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import VitrailError
from ..models.deit import DistilledDeiTConfig
from ..models.dinov2 import DINOv2Config
from ..models.dinov3 import DINOv3Config
from ..models.fields import ClassifierFields, ModelConfig
from ..models.registry import model_config, override
from ..models.simple_vit import SimpleViTConfig
from ..models.vit import ViTConfig

_PATCHES, _PREFIX, _POSITIONS = (
    "embed.patches.project.weight",
    "embed.parts.prefix.weight",
    "embed.parts.positions.weight",
)
_REGISTERS = "embed.parts.registers.weight"
_CLASSIFIERS = ("head.classify.weight", "head.classify.linear.weight")
_BLOCK = "encoder.blocks.0"
# The number of heads cannot be inferred from shapes; these are the published ones, by width.
_HEADS = {192: 3, 384: 6, 512: 8, 768: 12, 1024: 16, 1280: 16, 1536: 24}
_DINOV3_HEADS = {**_HEADS, 1280: 20, 4096: 32}


def infer_config(
    state: Mapping[str, Tensor], architecture: str | ModelConfig | None, facts: Mapping[str, Any]
) -> ModelConfig:
    """Infer the config of a state dict with our names.

    Args:
        state: state dict with our names.
        architecture: variant or config to start from; None: infer everything.
        facts: config fields known from elsewhere, which take precedence; fields that the config lacks are ignored.

    Raises:
        VitrailError: the shapes are ambiguous; the message names the argument to pass.
    """
    # The image encoder of a dual encoder is a complete model.
    seen = _fields_seen({name.removeprefix("image."): tensor for name, tensor in state.items()}, facts)
    if architecture is None:
        attention = f"{_BLOCK}.attention.branch"
        relative = {f"{attention}.bias.table", "encoder.bias.table"} & state.keys()
        if _PATCHES not in state or f"{attention}.qkv.weight" not in state or relative:
            raise VitrailError("the architecture of these weights cannot be inferred: pass architecture")
        kind = _kind(state)
        base = kind(**_known(kind, {**_shape_fields(state, facts, kind), **seen}))
    else:
        base = model_config(architecture) if isinstance(architecture, str) else architecture
        seen["num_classes"] = max(0, seen["num_classes"] - base.unnamed_outputs)
        known = _known(type(base), seen)
        if isinstance(base, ClassifierFields) and known["num_classes"] == base.num_classes:
            del known["num_classes"]  # it would make a classifier of an image tower with a projection
        base = override(base, known, "the checkpoint")
    return override(base, _known(type(base), facts), "the checkpoint")


def _kind(state: Mapping[str, Tensor]) -> type:
    if _PREFIX not in state and _POSITIONS not in state:
        return SimpleViTConfig
    if _REGISTERS in state or _gated(state):
        return DINOv2Config if _POSITIONS in state else DINOv3Config
    tokens = state[_PREFIX].shape[1] if _PREFIX in state else 0
    return DistilledDeiTConfig if tokens == 2 else ViTConfig


def _fields_seen(state: Mapping[str, Tensor], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that may differ between checkpoints of one variant: channels, classes, image size."""
    filters = next((t for name, t in state.items() if name.startswith("embed.") and t.ndim >= 4), None)
    if filters is None:
        raise VitrailError("these weights have no patch embedding: they are not a vision model, or only a part of one")
    head = next((state[name] for name in _CLASSIFIERS if name in state), None)
    fields: dict[str, Any] = {"in_channels": filters.shape[1], "num_classes": 0 if head is None else head.shape[0]}
    if _POSITIONS in state and _PATCHES in state and "image_size" not in facts:
        rows, columns = filters.shape[-2:]
        side = math.isqrt(_cells(state))
        if side * side != _cells(state):
            raise VitrailError(
                f"the positions of these weights, {state[_POSITIONS].shape[1]} rows, are not of a square grid: "
                "pass image_size=(height, width)"
            )
        fields["image_size"] = side * rows if rows == columns else (side * rows, side * columns)
    return fields


def _shape_fields(state: Mapping[str, Tensor], facts: Mapping[str, Any], kind: type) -> dict[str, Any]:
    dim, _, rows, columns = state[_PATCHES].shape
    numbers = [int(name.split(".")[2]) for name in state if name.startswith("encoder.blocks.")]
    heads = facts.get("num_heads", (_DINOV3_HEADS if kind is DINOv3Config else _HEADS).get(dim))
    if heads is None:
        raise VitrailError(f"the number of heads of a ViT of width {dim} cannot be inferred: pass num_heads")
    hidden = state.get(f"{_BLOCK}.mlp.branch.contract.weight")
    return {
        "patch_size": rows if rows == columns else (rows, columns),
        "embed_dim": dim,
        "depth": max(numbers, default=-1) + 1,
        "num_heads": heads,
        "mlp_ratio": 4.0 if hidden is None else hidden.shape[1] / dim,
        "gated_mlp": _gated(state),
        "qkv_bias": f"{_BLOCK}.attention.branch.qkv.bias" in state,
        "registers": state[_REGISTERS].shape[1] if _REGISTERS in state else 0,
        "layer_scale": 1e-6 if f"{_BLOCK}.attention.scale.weight" in state else None,
        "pool": "mean" if "head.norm.weight" in state else "class",
        "class_position": not _class_stands_apart(state),
    }


def _gated(state: Mapping[str, Tensor]) -> bool:
    # One layer computes gate and value, so it is twice as wide as the input of the next layer.
    expand, contract = (state.get(f"{_BLOCK}.mlp.branch.{part}.weight") for part in ("expand", "contract"))
    return expand is not None and contract is not None and expand.shape[0] == 2 * contract.shape[1]


def _cells(state: Mapping[str, Tensor]) -> int:
    """Number of positions that belong to patches."""
    rows = state[_POSITIONS].shape[1]
    prefix = state[_PREFIX].shape[1] if _PREFIX in state else 0
    return rows if _class_stands_apart(state) else rows - prefix


def _class_stands_apart(state: Mapping[str, Tensor]) -> bool:
    # Only one of N and N - 1 can be a square, which decides whether the class token has a position.
    if _POSITIONS not in state or _PREFIX not in state:
        return False
    rows = state[_POSITIONS].shape[1]
    return bool(rows == math.isqrt(rows) ** 2 and state[_PREFIX].shape[1] == 1 and rows > 1)


def _known(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    names = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return {key: value for key, value in values.items() if key in names}
