"""Infers the config of a state dict from the shapes of its tensors."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ..errors import VitrailError
from ..models.deit import DistilledDeiTConfig
from ..models.dinov2 import DINOv2Config
from ..models.dinov3 import DINOv3Config
from ..models.fields import ClassifierFields, ModelConfig, Size, cells, pair
from ..models.registry import model_config, override
from ..models.rope_vit import RotaryViTConfig
from ..models.simple_vit import SimpleViTConfig
from ..models.vit import ViTConfig
from ..models.vit_gap import GapViTConfig
from .build import blueprint
from .card import side_or_pair, sides

_PATCHES, _PREFIX, _POSITIONS = (
    "embed.patches.project.weight",
    "embed.parts.prefix.weight",
    "embed.parts.positions.weight",
)
_REGISTERS = "embed.parts.registers.weight"
_QUERY = "head.pool.query"
_CLASSIFIERS = ("head.classify.weight", "head.classify.linear.weight")
_BLOCK = "encoder.blocks.0"
# The number of heads cannot be inferred from shapes; these are the published ones, by width.
_HEADS = {192: 3, 384: 6, 512: 8, 768: 12, 1024: 16, 1280: 16, 1536: 24}
_DINOV3_HEADS = {**_HEADS, 1280: 20, 4096: 32}


def infer_config(
    state: Mapping[str, Tensor],
    architecture: str | ModelConfig | None,
    facts: Mapping[str, Any],
    *,
    wanted_size: Size | None = None,
) -> tuple[ModelConfig, list[str]]:
    """Infer the config of a state dict with our names.

    Args:
        state: state dict with our names.
        architecture: variant or config to start from; None: infer everything.
        facts: config fields known from elsewhere, which take precedence; fields that the config lacks are ignored.
        wanted_size: image size that the user asks for, taken as that of the weights if they have as many positions.

    Returns:
        the config, and sentences on what was assumed.

    Raises:
        VitrailError: the shapes are ambiguous; the message names the argument to pass.
    """
    # The image encoder of a dual encoder is a complete model.
    image_state = {name.removeprefix("image."): tensor for name, tensor in state.items()}
    notes: list[str] = []
    if architecture is None:
        kind = _kind(state)
        base = kind(**_known(kind, _shape_fields(state, facts, kind, notes)))
    else:
        base = model_config(architecture) if isinstance(architecture, str) else architecture
    seen = _fields_seen(image_state, base)
    if architecture is not None:
        seen["num_classes"] = max(0, seen["num_classes"] - base.unnamed_outputs)
        if isinstance(base, ClassifierFields) and seen["num_classes"] == base.num_classes:
            del seen["num_classes"]  # it would make a classifier of an image tower with a projection
    base = override(base, _known(type(base), seen), "the checkpoint")
    if _POSITIONS in image_state and _PATCHES in image_state:
        usual = None if architecture is None else base.image_size
        base = _with_grid(base, image_state, [facts.get("image_size"), wanted_size, usual], notes)
    return override(base, _known(type(base), facts), "the checkpoint"), notes


def _with_grid(
    base: ModelConfig, state: Mapping[str, Tensor], sizes: Sequence[Size | None], notes: list[str]
) -> ModelConfig:
    """The config with the image size of the stored positions, and with or without one for the class token.

    Args:
        base: config without these fields.
        state: state dict with our names.
        sizes: the known size, the wanted one and the variant's; the first that has as many cells is taken. If none has,
            the grid is square.
        notes: receives a sentence if a size was assumed.
    """
    patch = (state[_PATCHES].shape[-2], state[_PATCHES].shape[-1])
    prefix, registers = (state[name].shape[1] if name in state else 0 for name in (_PREFIX, _REGISTERS))
    rows, choices = state[_POSITIONS].shape[1], (prefix, 0, *((registers,) if not prefix else ()))
    for place, size in enumerate(sizes):
        counts = [count for count in choices if size is not None and rows - count == cells(size, patch)]
        if size is not None and counts:
            if place == 1:
                notes.append(f"the {rows - counts[0]} positions were taken as those of images of {sides(pair(size))}")
            return _with_size(base, size, prefix, counts[0])
    found = next((count for count in choices if _is_square(rows - count)), None)
    if found is None:
        raise VitrailError(
            f"the positions of these weights, {rows} rows, are not of a square grid: pass image_size=(height, width), "
            "the size of the images that they were trained on"
        )
    side = math.isqrt(rows - found)
    size = (side * patch[0], side * patch[1])
    if sizes[0] is None:
        notes.append(
            f"image size {sides(size)} assumed, for {rows - found} positions as a square grid: "
            "pass image_size=(height, width) if it is another"
        )
    return _with_size(base, side_or_pair(size), prefix, found)


def _with_size(config: ModelConfig, size: Size, prefix: int, positioned: int) -> ModelConfig:
    """The config with an image size, for positions of which the first `positioned` are not of patches."""
    changes = {
        "image_size": size,
        "class_position": prefix == 0 or positioned > 0,
        "register_positions": prefix == 0 and positioned > 0,
    }
    return override(config, _known(type(config), changes), "the checkpoint")


def _is_square(count: int) -> bool:
    return count > 0 and math.isqrt(count) ** 2 == count


def _kind(state: Mapping[str, Tensor]) -> type:
    """Config class of a plain ViT; VitrailError for all other models."""
    attention = f"{_BLOCK}.attention.branch"
    relative = {f"{attention}.bias.table", "encoder.bias.table"} & state.keys()
    several = _QUERY in state and _REGISTERS not in state  # SigLIP's, of two activations
    if _PATCHES not in state or f"{attention}.qkv.weight" not in state or relative or several:
        raise VitrailError(
            "the architecture of these weights cannot be inferred: pass architecture, one of `vitrail models`"
        )
    qkv, placed = f"{attention}.qkv", _POSITIONS in state
    keyless = f"{qkv}.bias" in state and len(state[f"{qkv}.bias"]) < len(state[f"{qkv}.weight"])
    if f"{attention}.refine.frequencies" in state:
        return RotaryViTConfig
    # Fixed rotary positions have no tensors: only of DINOv3 are they certain.
    rotary = _PREFIX in state and not placed and _REGISTERS not in state and not _gated(state)
    if rotary or (keyless and placed) or (_PREFIX not in state and _REGISTERS in state and not placed):
        raise VitrailError(
            "the architecture of these weights cannot be inferred, as rotary positions have no tensors: pass "
            "architecture, such as vit_base_patch16_rope_224 or eva02_base_patch14_224, one of `vitrail models`"
        )
    if _PREFIX not in state:
        return GapViTConfig if placed else SimpleViTConfig
    if _REGISTERS in state or _gated(state):
        return DINOv2Config if placed else DINOv3Config
    tokens = state[_PREFIX].shape[1] if _PREFIX in state else 0
    return DistilledDeiTConfig if tokens == 2 else ViTConfig


def _fields_seen(state: Mapping[str, Tensor], base: ModelConfig) -> dict[str, Any]:
    """Fields that may differ between checkpoints of one variant: channels and classes."""
    head = next((state[name] for name in _CLASSIFIERS if name in state), None)
    fields = {"num_classes": 0 if head is None else head.shape[0]}
    filters = [name for name, tensor in state.items() if name.startswith("embed.") and tensor.ndim >= 4]
    if filters == [_PATCHES]:
        return {**fields, "in_channels": state[_PATCHES].shape[1]}
    # The first convolution is the one whose shape follows the number of channels.
    more = blueprint(override(base, {"in_channels": base.in_channels + 1}, "the checkpoint")).state_dict()
    plain = {name.removeprefix("image."): tensor.shape for name, tensor in blueprint(base).state_dict().items()}
    wider = {name.removeprefix("image."): tensor.shape for name, tensor in more.items()}
    first = next((name for name, shape in plain.items() if wider[name] != shape and name.startswith("embed.")), None)
    if first is None or first not in state:
        raise VitrailError("these weights have no patch embedding: they are not a vision model, or only a part of one")
    return {**fields, "in_channels": state[first].shape[1]}


def _shape_fields(
    state: Mapping[str, Tensor], facts: Mapping[str, Any], kind: type, notes: list[str]
) -> dict[str, Any]:
    dim, _, rows, columns = state[_PATCHES].shape
    numbers = [int(name.split(".")[2]) for name in state if name.startswith("encoder.blocks.")]
    heads = facts.get("num_heads")
    if heads is None:
        heads = (_DINOV3_HEADS if kind is DINOv3Config else _HEADS).get(dim)
        if heads is None:
            raise VitrailError(f"the number of heads of a ViT of width {dim} cannot be inferred: pass num_heads")
        notes.append(f"num_heads {heads} assumed, the usual one of width {dim}: pass num_heads if it is another")
    if kind is GapViTConfig:
        notes.append("activation gelu assumed: name the architecture if it is another, as in SigLIP 2")
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
        **_pool_field(state, kind),
        "rotation": "mixed" if f"{_BLOCK}.attention.branch.refine.frequencies" in state else "axial",
        "absolute_positions": _POSITIONS in state,
        "norm_after_pool": "head.norm.weight" in state,
        "distilled_head": "head.distill.weight" in state or "head.classify.weight" not in state,
    }


def _pool_field(state: Mapping[str, Tensor], kind: type) -> dict[str, str]:
    if kind is DINOv3Config:
        return {}  # the same tensors are pooled differently; the layout knows
    if kind is GapViTConfig:
        return {"pool": "multi_head" if _QUERY in state else "mean"}
    return {"pool": "mean" if "head.norm.weight" in state else "class"}


def _gated(state: Mapping[str, Tensor]) -> bool:
    # One layer computes gate and value, so it is twice as wide as the input of the next layer.
    expand, contract = (state.get(f"{_BLOCK}.mlp.branch.{part}.weight") for part in ("expand", "contract"))
    return expand is not None and contract is not None and expand.shape[0] == 2 * contract.shape[1]


def _known(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    names = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return {key: value for key, value in values.items() if key in names}
