"""Every field of transformers' configurations, changed one at a time: the same outputs, or a refusal in words."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from torch import nn
from torch.utils._pytree import tree_leaves

import vitrail
from vitrail.errors import VitrailError
from vitrail.nn import joined

from .references import answers, randomise
from .test_mae import table_by_loop

VIT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 64,
    "patch_size": 16,
}
WINDOWS: dict[str, Any] = {"image_size": 64, "embed_dim": 24, "depths": [2, 2], "num_heads": [1, 2], "window_size": 4}
PYRAMID: dict[str, Any] = {"hidden_sizes": [8, 16, 32, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 2, 4]}
LEVIT: dict[str, Any] = {
    "image_size": 64,
    "hidden_sizes": [32, 48, 64],
    "num_attention_heads": [2, 3, 4],
    "depths": [2, 3, 4],
}
DECODER: dict[str, Any] = {
    "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 32,  # the decoder has the ratio of the encoder
}
LABELS: dict[str, Any] = {"num_labels": 5}
DINO = {name: value for name, value in VIT.items() if name != "intermediate_size"}

FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ViT": ("ViTConfig", "ViTForImageClassification", VIT),
    "DeiT": ("DeiTConfig", "DeiTForImageClassificationWithTeacher", VIT),
    "BEiT": ("BeitConfig", "BeitForImageClassification", {**VIT, "use_relative_position_bias": True}),
    "DINOv2": ("Dinov2Config", "Dinov2ForImageClassification", DINO),
    "DINOv2, registers": ("Dinov2WithRegistersConfig", "Dinov2WithRegistersForImageClassification", DINO),
    "DINOv3": ("DINOv3ViTConfig", "DINOv3ViTModel", VIT),
    "Swin": ("SwinConfig", "SwinForImageClassification", WINDOWS),
    "Swin V2": ("Swinv2Config", "Swinv2ForImageClassification", WINDOWS),
    "ConvNeXt": (
        "ConvNextConfig",
        "ConvNextForImageClassification",
        {"hidden_sizes": [8, 16, 16], "num_stages": 3, "depths": [1, 1, 1]},
    ),
    "ConvNeXt V2": (
        "ConvNextV2Config",
        "ConvNextV2ForImageClassification",
        {"hidden_sizes": [8, 16, 16], "num_stages": 3, "depths": [1, 1, 1]},
    ),
    "PVT": ("PvtConfig", "PvtForImageClassification", {**PYRAMID, "image_size": 64}),
    "PVT v2": ("PvtV2Config", "PvtV2ForImageClassification", {**PYRAMID, "image_size": 64}),
    "MiT": ("SegformerConfig", "SegformerForImageClassification", PYRAMID),
    "CvT": (
        "CvtConfig",
        "CvtForImageClassification",
        {"embed_dim": [8, 16, 32], "num_heads": [1, 2, 4], "depth": [1, 2, 3]},
    ),
    "CLIP": ("CLIPVisionConfig", "CLIPVisionModelWithProjection", {**VIT, "projection_dim": 16}),
    "SigLIP": ("SiglipVisionConfig", "SiglipVisionModel", VIT),
    "VideoMAE": ("VideoMAEConfig", "VideoMAEForVideoClassification", {**VIT, "num_frames": 4}),
    "VideoMAE, first token": (
        "VideoMAEConfig",
        "VideoMAEForVideoClassification",
        {**VIT, "num_frames": 4, "use_mean_pooling": False},
    ),
    "TimeSformer": ("TimesformerConfig", "TimesformerForVideoClassification", {**VIT, "num_frames": 4}),
    "LeViT": ("LevitConfig", "LevitForImageClassification", LEVIT),
    "LeViT, teacher": ("LevitConfig", "LevitForImageClassificationWithTeacher", LEVIT),
    "MAE": ("ViTMAEConfig", "ViTMAEForPreTraining", {**VIT, **DECODER}),
    "MAE, encoder": ("ViTMAEConfig", "ViTMAEModel", {**VIT, "mask_ratio": 0.0}),
    "ResNet": ("ResNetConfig", "ResNetForImageClassification", {"layer_type": "basic", "depths": [2, 2, 2, 2]}),
    "DPT": (
        "DPTConfig",
        "DPTForDepthEstimation",
        {
            **VIT,
            "num_hidden_layers": 4,
            "backbone_out_indices": [0, 1, 2, 3],
            "neck_hidden_sizes": [8, 16, 16, 32],
            "fusion_hidden_size": 16,
        },
    ),
}
FEW = ["ViT", "Swin", "CvT", "VideoMAE"]
# Fields that change no output of a model in evaluation, or that name things.
HARMLESS = (
    "dropout",
    "drop_",
    "_drop",
    "initializer",
    "label",
    "id2",
    "return_dict",
    "output_",
    "architectures",
    "dtype",
)
HARMLESS += (
    "transformers_version",
    "model_type",
    "problem_type",
    "chunk_size",
    "torchscript",
    "out_indices",
    "out_features",
)
HARMLESS += ("stage_names", "_attn", "name_or_path", "loss", "is_encoder", "use_cache", "tie_", "pruned", "mask_ratio")


def changed(value: Any) -> list[Any]:
    """Other values of a field: one or two of the same type."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, str):
        return ["relu" if "gelu" in value or value in ("silu", "relu") else "other"]
    if isinstance(value, int):
        return [value * 2, value + 1]
    if isinstance(value, float):
        return [value * 30 if value < 0.01 else value + 1]
    if isinstance(value, (list, tuple)) and value and not isinstance(value[0], (str, dict)):
        return [[*value[:-1], other] for other in changed(value[-1])[:1]]
    return []


def cases() -> Iterator[Any]:
    for name, (config, _, values) in FAMILIES.items():
        marks = () if name in FEW else (pytest.mark.exhaustive,)
        fields = getattr(hf, config)(**values).to_dict()
        for field, value in fields.items():
            if not any(part in field for part in HARMLESS):
                for index, other in enumerate(changed(value)):
                    yield pytest.param(name, field, other, marks=marks, id=f"{name}-{field}-{index}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "field", "value"), list(cases()))
def test_one_field_changed(name: str, field: str, value: Any, tmp_path: Path) -> None:
    config, model, values = FAMILIES[name]
    logging.disable(logging.CRITICAL)
    try:
        labels = LABELS if "num_labels" not in values else {}
        theirs = randomise(getattr(hf, model)(getattr(hf, config)(**{**labels, **values, field: value})))
        if name.startswith("MAE"):
            with_sines(theirs)
        pixels = inputs(theirs)
        with torch.no_grad():
            expected = output(theirs, *pixels)
    except Exception as error:  # transformers itself has many errors for values that cannot be built
        pytest.skip(f"transformers cannot: {str(error)[:80]}")
    theirs.save_pretrained(tmp_path)
    try:
        ours = vitrail.load(tmp_path).model
    except VitrailError:
        return
    try:
        with torch.no_grad():
            found = ours.forward_features(pixels[0]).x if name == "MAE, encoder" else answer(ours, *pixels)
    except ValueError:  # the image is no multiple of the patch: transformers leaves the rest of it out
        return
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-4 * max(1.0, float(expected.abs().max()))


def answer(ours: nn.Module, pixels: torch.Tensor, *noise: torch.Tensor) -> Any:
    """The first tensor of our output; videos have their channels first."""
    return tree_leaves(joined(ours(pixels.transpose(1, 2) if pixels.ndim == 5 else pixels, *noise)))[0]


def with_sines(theirs: Any) -> None:
    """The positions of MAE are computed, and never random."""
    config, encoder = theirs.config, theirs.base_model
    side = config.image_size // config.patch_size
    encoder.embeddings.position_embeddings.data = table_by_loop(side, config.hidden_size)
    if encoder is not theirs:
        theirs.decoder.decoder_pos_embed.data = table_by_loop(side, config.decoder_hidden_size)


def inputs(theirs: Any) -> tuple[torch.Tensor, ...]:
    """Pixels of the size that a configuration states, 64 where it states none, and for MAE what hides the patches."""
    values = theirs.config.to_dict()
    size = values.get("image_size") or 64
    height, width = (size, size) if isinstance(size, int) else size
    frames = (values["num_frames"],) if "num_frames" in values else ()
    pixels = torch.randn(
        1, *frames, values.get("num_channels", 3), height, width, generator=torch.Generator().manual_seed(0)
    )
    if values["model_type"] != "vit_mae":
        return (pixels,)
    count = (height // values["patch_size"]) * (width // values["patch_size"])
    return pixels, torch.arange(float(count))[None]  # the encoder alone keeps the order of the patches


def output(theirs: nn.Module, pixels: torch.Tensor, *noise: torch.Tensor) -> torch.Tensor:
    """The output that ours has too."""
    found: Any = theirs(pixels, noise=noise[0]) if noise else theirs(pixels)
    names = ("image_embeds", "pooler_output") if not noise else ("last_hidden_state",)
    return (answers(found) or [found[name] for name in names if name in found])[0]
