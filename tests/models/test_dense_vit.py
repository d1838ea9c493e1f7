"""A ViT with a head for pixels: its parts against the ViT's own, weights of every kind of ViT, and what is refused."""

import json
from dataclasses import fields
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from vitrail.checkpoint.build import build
from vitrail.checkpoint.document import Stored, config_from_dict, config_to_dict
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.models.dense_vit import DenseViTConfig
from vitrail.models.registry import model_config, override
from vitrail.models.vit import ViTConfig
from vitrail.nn import init_vit
from vitrail.objectives.dense_head import with_dense_head
from vitrail.tasks.depth import Depth
from vitrail.tasks.segmentation import Segmentation

SMALL: dict[str, Any] = {"image_size": 32, "embed_dim": 32, "depth": 4, "num_heads": 2}
KINDS: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {**SMALL, "patch_size": 8},
    "eva_large_patch14_196": {**SMALL, "patch_size": 8},  # the norm is in the head, after the mean
    "deit3_small_patch16_224": {**SMALL, "patch_size": 8},
    "vit_small_patch14_reg4_dinov2": {**SMALL, "patch_size": 8},
    "simple_vit_tiny_patch16_224": {**SMALL, "patch_size": 8},  # without class token
    "beit_base_patch16_224": {**SMALL, "patch_size": 8},
    "compact_tiny_16": SMALL,
    "mae_vit_base_patch16": {**SMALL, "patch_size": 8, "decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2},
}


def stored_of(name: str, **changes: Any) -> Stored:
    config = model_config(name, **{**KINDS[name], **changes})
    model = config.build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return Stored(config, model.state_dict(), (), Preprocess(image_size=(32, 32)))


def normed_tokens(stored: Stored, pixels: torch.Tensor) -> torch.Tensor:
    """Patch tokens of the weights as they are, after the last norm, (1, N, D)."""
    config, state = stored.config, stored.state
    if (fine := config.fine_tuned()) is not None:
        config, state = fine, {**fine.build().state_dict(), **config.fine_tuned_state(state)}
    model = config.build().eval()
    model.load_state_dict(state)
    tokens = model.forward_features(pixels)
    head = model.get_submodule("head")
    return head.norm(tokens.patches) if isinstance(getattr(head, "norm", None), torch.nn.LayerNorm) else tokens.patches


@pytest.mark.parametrize("name", KINDS)
def test_the_encoder_has_the_weights_and_the_linear_head_reads_its_tokens(name: str) -> None:
    stored, pixels = stored_of(name), torch.randn(1, 3, 32, 32)
    dense = with_dense_head(stored, Segmentation(), 5, {})
    model = build(dense)
    tokens = normed_tokens(stored, pixels)
    torch.testing.assert_close(model.forward_features(pixels).patches, tokens)
    classify = model.get_submodule("head.classify")
    rows, columns = model.forward_features(pixels).grid
    logits = tokens @ classify.weight[:, :, 0, 0].T + classify.bias
    maps = logits.transpose(1, 2).unflatten(2, (rows, columns))
    expected = F.interpolate(maps, size=(32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(model(pixels), expected)
    assert model(pixels).shape == (1, 5, 32, 32)
    assert dense.info["adapted"] == [
        f"a fresh head for segmentation was put on the encoder of a model for {stored.config.task.name}"
    ]


@pytest.mark.parametrize("name", KINDS)
def test_the_head_of_dpt_takes_the_tokens_of_four_blocks(name: str) -> None:
    stored, pixels = stored_of(name), torch.randn(1, 3, 32, 32)
    config = with_dense_head(stored, Depth(), 0, {"decoder": "dpt", "fusion_dim": 8})
    model = build(config)
    levels = model.forward_features(pixels)
    assert len(levels) == 4
    prefix = levels[-1].prefix
    torch.testing.assert_close(levels[-1].x[:, prefix:], normed_tokens(stored, pixels))
    depths = model(pixels)
    assert depths.ndim == 3
    assert (depths >= 0).all()


def test_the_dense_model_survives_its_document() -> None:
    config = with_dense_head(stored_of("vit_small_patch14_reg4_dinov2"), Segmentation(), 5, {}).config
    values = json.loads(json.dumps(config_to_dict(config)))
    assert values["encoder"]["type"] == "DINOv2Config"
    assert config_from_dict(values, "model.json") == config
    values["encoder"] = {**values["encoder"], "type": "DenseViTConfig", "encoder": dict(values["encoder"])}
    with pytest.raises(VitrailError, match=r"encoder|field"):
        config_from_dict(values, "model.json")


def test_size_channels_and_rates_are_those_of_the_encoder_too() -> None:
    config = DenseViTConfig(encoder=ViTConfig(**SMALL), image_size=64, in_channels=1, drop_path=0.1, num_classes=3)
    for name in ("image_size", "in_channels", "drop_path"):
        assert getattr(config.encoder, name) == getattr(config, name)
    larger = override(config, {"image_size": 96}, "it")
    assert larger.encoder == override(config.encoder, {"image_size": 96}, "it")
    assert (config.task.name, override(config, {"num_classes": 0}, "it").task.name) == ("segmentation", "depth")
    assert {field.name for field in fields(config)} >= {"decoder", "fusion_dim", "dropout"}


def test_weights_with_a_head_for_the_task_are_kept() -> None:
    config = DenseViTConfig(encoder=ViTConfig(**SMALL), image_size=32, num_classes=3)
    given = Stored(config, config.build().apply(init_vit).state_dict(), ("a", "b", "c"), Preprocess())
    assert with_dense_head(given, Segmentation(), 3, {}) is given


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("swin_tiny_patch4_window7_224", {}, "SwinConfig is no plain ViT, one sequence of blocks on one grid"),
        ("clip_vit_base_patch32", {}, "CLIPConfig is no plain ViT"),
        ("convnext_atto", {}, "ConvNeXtConfig is no plain ViT"),
        ("videomae_small_patch16_224", {}, "VideoMAEConfig has no grid of patches"),
        ("adaptive_vit_tiny_patch16_224", {}, "patches whose number depends on the image"),
        ("vit_tiny_patch16_224", {"depth": 2}, "takes the tokens of 4 blocks, and this encoder has 2"),
    ],
)
def test_models_without_one_grid_of_tokens_are_a_sentence(name: str, fields: dict[str, Any], words: str) -> None:
    config = model_config(name, image_size=64, **fields)
    with pytest.raises(VitrailError, match=words):
        DenseViTConfig(encoder=config, image_size=64, decoder="dpt").build()
    with pytest.raises(VitrailError, match="encoder is a str: give the config of a ViT"):
        DenseViTConfig(encoder="vit")  # type: ignore[arg-type]
