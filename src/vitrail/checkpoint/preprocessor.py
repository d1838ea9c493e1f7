"""Reads preprocessor_config.json of transformers."""

from collections.abc import Mapping
from typing import Any

from ..errors import VitrailError
from .card import known_only

Sides = tuple[int, int]
"""(height, width) in pixels."""
_RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}
_FILTERS = {1: "Lanczos", 4: "box", 5: "Hamming"}
# Steps that change no pixel of an image, or only labels.
_WITHOUT_EFFECT = (
    "do_convert_rgb",
    "do_convert_annotations",
    "do_reduce_labels",
    "do_pad",
    "do_batch",
    "do_sample_frames",
)
_FOLLOWED = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
# Processors for which a size that is one number is that of the shorter side; for others, of both.
_SHORTER_SIDE = ("CLIP", "ConvNe", "Levit", "VideoMAE", "Detr", "Bit", "Conditional", "YOLOS", "Yolos", "Deformable")
_USUAL = 224  # every processor's crop_size if none is given
_LARGE = 384  # ConvNeXt's processor stretches images of this size and crops smaller ones


def preprocess_fields(values: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Fields of `Preprocess`, and sentences on what differs.

    Raises:
        VitrailError: a step that `Preprocess` does not have.
    """
    if not values:
        return {}, ()
    others = [key for key, on in values.items() if key.startswith("do_") and on and key not in _FOLLOWED]
    others = [key for key in others if key not in _WITHOUT_EFFECT]
    if others:
        raise VitrailError(f"the preprocessor has {', '.join(others)}: vitrail has no such step, so export without")
    notes = []
    if not values.get("do_resize", True):
        notes.append("images are resized to the size of the model, which the preprocessor leaves to the user")
    fields = {**_geometry(values), **_statistics(values)}
    if values.get("do_resize", True):
        fields["interpolation"] = _interpolation(values.get("resample", 2))
    return known_only(fields), tuple(notes)


def _interpolation(number: Any) -> str:
    if number not in _RESAMPLE:
        raise VitrailError(
            f"the preprocessor resizes with resample={number!r} ({_FILTERS.get(number, 'unknown')}): supported are "
            f"{', '.join(f'{key} ({name})' for key, name in _RESAMPLE.items())}"
        )
    return _RESAMPLE[number]


def _geometry(values: Mapping[str, Any]) -> dict[str, Any]:
    """Image size, crop and stretch."""
    size, stretch = _sides(values)
    crop = _sides({**values, "size": values.get("crop_size") or _USUAL})[0] if values.get("do_center_crop") else None
    if size is None or (not values.get("do_resize", True) and crop):
        return {"image_size": crop}
    if "crop_pct" in values:  # ConvNeXt's
        share = 1.0 if size[0] >= _LARGE else float(values["crop_pct"] or 224 / 256)
        return {"image_size": size, "crop": share, "stretch": size[0] >= _LARGE}
    if crop is None:
        return {"image_size": size, "crop": 1.0, "stretch": stretch}
    if _kind(values).startswith("Levit"):  # its shorter side is 256/224 times the one in `size`
        size = int(256 / 224 * size[0]), int(256 / 224 * size[1])
    shares = crop[0] / size[0], crop[1] / size[1]
    if max(shares) > 1 or abs(shares[0] - shares[1]) > 0.01:
        raise VitrailError(
            f"the preprocessor resizes to {size[0]}×{size[1]} and crops {crop[0]}×{crop[1]}: vitrail can crop the same "
            "share of both sides only, so give a size and a crop_size of equal shape"
        )
    return {"image_size": crop, "crop": shares[0], "stretch": stretch}


def _sides(values: Mapping[str, Any]) -> tuple[Sides | None, bool]:
    """`size` in any of transformers' formats as (height, width), and whether images are stretched to it."""
    size = values.get("size")
    if isinstance(size, int):
        return (size, size), not _kind(values).startswith(_SHORTER_SIDE)
    if isinstance(size, (list, tuple)) and len(size) == 2:  # of old files
        return (size[1], size[0]), True
    if not isinstance(size, Mapping):
        return None, False
    if "height" in size and "width" in size:
        return (size["height"], size["width"]), True
    side = size.get("shortest_edge")
    return (None if side is None else (side, side)), False


def _kind(values: Mapping[str, Any]) -> str:
    return str(values.get("image_processor_type") or values.get("feature_extractor_type") or "")


def _statistics(values: Mapping[str, Any]) -> dict[str, Any]:
    """Mean and deviation for an image from 0 to 1; steps that are off, and other factors, become part of them.

    transformers computes (value · factor - mean) / std from values 0 to 255, and `Preprocess` starts from value / 255.
    """
    mean, std = (_channels(values.get(name)) for name in ("image_mean", "image_std"))
    rescales, normalises = values.get("do_rescale", True), values.get("do_normalize", True)
    factor = (values.get("rescale_factor") or 1 / 255) if rescales else 1.0
    offset = 1.0 if rescales and (values.get("offset") or values.get("rescale_offset")) else 0.0
    if not normalises:
        mean, std = (0.0,) * 3, (1.0,) * 3
    if mean is None or std is None:
        return {}
    unit = 255 * factor
    if abs(unit - 1) < 1e-6 and not offset:
        return {"mean": mean, "std": std}
    return {
        "mean": tuple((value + offset) / unit for value in mean),
        "std": tuple(value / unit for value in std),
    }


def _channels(values: Any) -> tuple[float, ...] | None:
    return (values,) * 3 if isinstance(values, (int, float)) else None if values is None else tuple(values)
