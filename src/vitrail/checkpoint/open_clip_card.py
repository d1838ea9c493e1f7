"""Reads open_clip_config.json."""

from collections.abc import Mapping
from typing import Any

from ..errors import VitrailError
from ..models.clip import CLIPConfig
from .card import Card, known_only, side_or_pair

OPEN_CLIP = "open_clip_config.json"
_VISION: Mapping[str, Any] = {"layers": 12, "width": 768, "head_width": 64, "patch_size": 16, "image_size": 224}
_TEXT: Mapping[str, Any] = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12}
# Fields that change no output of a trained model.
_HARMLESS = ("patch_dropout", "output_tokens", "hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode")


def open_clip_card(config: Mapping[str, Any]) -> Card:
    """Card of a model of open_clip with its own image encoder.

    Raises:
        VitrailError: an encoder of timm or transformers, or a part that our CLIP does not have.
    """
    model = config.get("model_cfg") or {}
    vision, text = {**_VISION, **(model.get("vision_cfg") or {})}, {**_TEXT, **(model.get("text_cfg") or {})}
    if not isinstance(vision["layers"], int) or vision.get("timm_model_name") or text.get("hf_model_name"):
        inside = vision.get("timm_model_name") or text.get("hf_model_name") or "a ResNet"
        raise VitrailError(f"this model of open_clip has {inside} inside: only its own ViTs are supported")
    for name, part, known in (("vision_cfg", vision, _VISION), ("text_cfg", text, _TEXT)):
        others = [
            f"{key}={value!r}" for key, value in part.items() if value and key not in (*known, "mlp_ratio", *_HARMLESS)
        ]
        if others:
            raise VitrailError(
                f"this model of open_clip has {', '.join(others)} in {name}: vitrail's CLIP has no such part"
            )
    return Card(
        config=CLIPConfig(
            image_size=side_or_pair(vision["image_size"]),
            patch_size=side_or_pair(vision["patch_size"]),
            embed_dim=vision["width"],
            depth=vision["layers"],
            num_heads=vision["width"] // vision["head_width"],
            mlp_ratio=vision.get("mlp_ratio", 4.0),
            activation="quick_gelu" if model.get("quick_gelu") else "gelu",
            context_length=text["context_length"],
            vocab_size=text["vocab_size"],
            text_dim=text["width"],
            text_depth=text["layers"],
            text_heads=text["heads"],
            text_mlp_ratio=text.get("mlp_ratio", 4.0),
            joint_dim=model["embed_dim"],
        ),
        preprocess=_preprocess(config.get("preprocess_cfg") or {}),
    )


def _preprocess(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `Preprocess` from `preprocess_cfg`."""
    mode = values.get("resize_mode", "shortest")
    if mode not in ("shortest", "squash"):
        raise VitrailError(
            f"this model of open_clip has resize_mode {mode!r}: only 'shortest' and 'squash' are supported"
        )
    return known_only(
        {
            "crop": 1.0,
            "stretch": True if mode == "squash" else None,
            "interpolation": values.get("interpolation"),
            "mean": tuple(values["mean"]) if "mean" in values else None,
            "std": tuple(values["std"]) if "std" in values else None,
        }
    )
