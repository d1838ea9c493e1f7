"""Compression of attention weights into a format that a browser decodes without a library.

A row of weights is stored as the maximum over its patches (16 bits, logarithmic) and, for each patch, the square root
of its weight relative to the maximum, in `levels` steps. Prefix tokens are stored separately with 16 bits, since their
weights can be far larger than those of patches. The bytes of a layer are deflated, for
`DecompressionStream("deflate")`. The error of a value is at most `1 / levels` of the row's maximum, see `error_bound`,
or 1e-7; LOG.md compares other formats.
"""

import base64
import zlib
from bisect import bisect_left
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .rows import LayerRows, Side, Unseen

LEVELS = (255, 191, 127, 95, 63, 47, 31)
"""Numbers of quantisation levels, finest first. A page uses the finest that fits."""

_SCALE_STEPS, _SCALE_TOP = 2048, 8


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """A packed layer: `meta` has the plain JSON values that the page needs to decode `content`."""

    meta: dict[str, Any]
    content: bytes


def pack_layers(layers: tuple[tuple[str, LayerRows | Unseen], ...], most: int | None = None) -> list[PackedLayer]:
    """Pack all layers with the most levels for which they fit in `most` bytes of base64; the coarsest may need more.

    Args:
        layers: name and content.
        most: None for the finest.
    """
    if most is None:
        return [pack_layer(name, rows, effort=1) for name, rows in layers]
    tried: dict[int, list[PackedLayer]] = {}

    def fits(levels: int) -> bool:
        tried[levels] = [pack_layer(name, rows, levels) for name, rows in layers]
        return sum(-(-len(layer.content) // 3) * 4 for layer in tried[levels]) <= most

    chosen = LEVELS[min(bisect_left(LEVELS, True, key=fits), len(LEVELS) - 1)]
    return tried[chosen]


def pack_layer(name: str, rows: LayerRows | Unseen, levels: int = 255, *, effort: int = 6) -> PackedLayer:
    """Pack one layer with `levels` steps, at most 255, deflated with an `effort` from 1 to 9."""
    if isinstance(rows, Unseen):
        return PackedLayer({"name": name, "unseen": rows.reason}, b"")
    weights = rows.weights.numpy().astype(np.float32)
    lead, patches = weights[..., : rows.keys.prefix], weights[..., rows.keys.prefix :]
    signed = bool((patches < 0).any())
    steps = levels // 2 if signed else levels
    scale = _coded_scale(np.abs(patches).max(axis=-1, initial=0))
    share = patches / _scale(scale)[..., None]
    places = np.round(np.sqrt(np.abs(share)) * steps).clip(0, steps) * np.sign(share) + (steps if signed else 0)
    lead_top = float(np.abs(lead).max(initial=0)) or 1.0
    groups, cells = _groups(rows.cells)
    parts = (
        scale,
        np.round(lead / lead_top * 32767).astype("<i2"),
        groups.astype("<u2"),
        cells.astype("<u2"),
        places.astype("u1"),
    )
    meta = {
        "name": name,
        "heads": weights.shape[0],
        "queries": _side(rows.queries),
        "keys": _side(rows.keys),
        "count": rows.queries.count,
        "each": patches.shape[-1],
        "groups": len(cells),
        "steps": steps,
        "signed": signed,
        "leadStep": lead_top / 32767,
    }
    return PackedLayer(meta, zlib.compress(b"".join(part.tobytes() for part in parts), effort))


def unpack_layer(packed: PackedLayer) -> Tensor:
    """Inverse of `pack_layer`, up to quantisation: (h, N, M), as decoded by the page."""
    meta, content = packed.meta, zlib.decompress(packed.content)
    heads, lead, each, count = meta["heads"], meta["keys"]["prefix"], meta["each"], meta["count"]
    at = 0

    def take(kind: str, *shape: int) -> NDArray[Any]:
        nonlocal at
        size = int(np.prod(shape))
        found = np.frombuffer(content, kind, size, at).reshape(shape)
        at += found.nbytes
        return found

    scale, lead_values = _scale(take("<u2", heads, count)), take("<i2", heads, count, lead)
    if meta["groups"]:
        take("<u2", count)
        take("<u2", meta["groups"], each)
    share = (take("u1", heads, count, each).astype(np.float32) - meta["signed"] * meta["steps"]) / meta["steps"]
    patches = np.sign(share) * share**2 * scale[..., None]
    return torch.from_numpy(np.concatenate([lead_values * np.float32(meta["leadStep"]), patches], axis=-1))


def error_bound(levels: int) -> float:
    """Largest error of a patch's weight, relative to the maximum of its row; for non-negative weights."""
    return 1 / levels + 2.0 ** (1 / _SCALE_STEPS) - 1


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _side(side: Side) -> dict[str, Any]:
    frames = asdict(side.mosaic) if side.mosaic and side.grid != (0, 0) else None
    rare = {"cover": list(side.cover), "free": side.free, "frames": frames}
    return {"grid": list(side.grid), "prefix": side.prefix, **{name: value for name, value in rare.items() if value}}


def _coded_scale(top: NDArray[np.float32]) -> NDArray[Any]:
    # Rounded up, so that no relative weight is above 1.
    exponent = np.log2(np.maximum(top, 2.0**-23))
    return np.floor((_SCALE_TOP - exponent) * _SCALE_STEPS).clip(0, 65535).astype("<u2")


def _scale(coded: NDArray[Any]) -> NDArray[np.float32]:
    return np.exp2(_SCALE_TOP - coded.astype(np.float32) / _SCALE_STEPS)


def _groups(cells: Tensor | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the group of each query and the cells of each group, such as a window; 65535 means no cell."""
    if cells is None:
        return np.zeros(0), np.zeros((0, 0))
    unique, group = np.unique(cells.numpy(), axis=0, return_inverse=True)
    return group.reshape(-1), np.where(unique < 0, 65535, unique)
