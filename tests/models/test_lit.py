"""An image encoder of any family beside a text encoder: its vectors, and what is refused."""

import json
from typing import Any

import pytest
import torch

from vitrail.checkpoint.build import build
from vitrail.checkpoint.document import Stored, config_from_dict, config_to_dict
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.lens.reading import stated_reading
from vitrail.models.lit import LiTConfig
from vitrail.models.registry import model_config, override
from vitrail.models.vit import ViTConfig
from vitrail.nn import DualEncoder
from vitrail.objectives.image_tower import with_text_encoder
from vitrail.rewrites.lora import LoRA
from vitrail.task_spec import EMBEDDING

SMALL: dict[str, Any] = {"image_size": 32, "embed_dim": 32, "depth": 2, "num_heads": 2}
PATCHES: dict[str, Any] = {**SMALL, "patch_size": 8}
KINDS: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": PATCHES,
    "eva_large_patch14_196": PATCHES,  # the norm is in the head, after the mean
    "deit_tiny_distilled_patch16_224": PATCHES,  # two tokens
    "vit_small_patch14_reg4_dinov2": PATCHES,
    "vit_base_patch16_siglip_224": PATCHES,  # a pool with weights
    "vit_base_patch32_clip_224": PATCHES,
    "mae_vit_base_patch16": {**PATCHES, "decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2},
    "swin_tiny_patch4_window7_224": {"image_size": 64, "embed_dim": 24, "depths": (2, 2), "num_heads": (1, 2)},
    "cait_xxs24_224": {"image_size": 64, "embed_dim": 48, "depth": 2},
    "levit_128s": {"image_size": 64, "embed_dims": (32, 48, 64), "depths": (1, 2, 1), "num_heads": (2, 3, 4)},
    "convnext_atto": {"image_size": 64, "embed_dim": 16, "depths": (1, 2)},
    "compact_tiny_16": SMALL,
}
TEXTS: dict[str, Any] = {"vocab_size": 20, "context_length": 5, "text_dim": 16, "text_depth": 1, "joint_dim": 12}


def stored_of(name: str) -> Stored:
    config = model_config(name, **KINDS[name])
    model = config.build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return Stored(config, model.state_dict(), (), Preprocess(image_size=(32, 32)))


@pytest.mark.parametrize("name", KINDS)
def test_an_image_has_the_vector_of_the_weights_projected(name: str) -> None:
    stored = stored_of(name)
    config, state = stored.config, stored.state
    if (fine := config.fine_tuned()) is not None:
        config, state = fine, {**fine.build().state_dict(), **config.fine_tuned_state(state)}
    without = override(config, {"num_classes": 0, "task": EMBEDDING}, name).build().eval()
    without.load_state_dict(state, strict=False)
    found = with_text_encoder(stored, TEXTS, sigmoid=False, tokenizer=None)
    model = build(found)
    assert isinstance(model, DualEncoder)
    pixels = torch.randn(2, *model.config.pixels_shape)
    project = model.image.get_submodule("head.classify")
    torch.testing.assert_close(model.image(pixels), project(without.embed_images(pixels)))
    ids = torch.zeros(3, 5, dtype=torch.long)
    assert model(pixels, ids).shape == (2, 3)
    assert found.info["adapted"][0].startswith("a fresh text encoder was put beside the image encoder of a model for")
    assert len(found.info["adapted"]) == 1
    assert stated_reading(model.image) == stated_reading(without)


def test_a_sigmoid_has_a_bias_and_texts_have_the_fields_of_the_recipe() -> None:
    found = with_text_encoder(stored_of("vit_tiny_patch16_224"), TEXTS, sigmoid=True, tokenizer="{}").config
    assert isinstance(found, LiTConfig)
    assert (found.sigmoid, found.text_dim, found.joint_dim) == (True, 16, 12)
    assert "compare.bias" in found.build().state_dict()
    values = json.loads(json.dumps(config_to_dict(found)))
    assert config_from_dict(values, "model.json") == found
    assert override(found, {"image_size": 64}, "it").encoder.image_size == 64


def test_weights_with_a_text_encoder_are_kept() -> None:
    config = LiTConfig(encoder=ViTConfig(**PATCHES), image_size=32)
    given = Stored(config, {}, (), Preprocess())
    assert with_text_encoder(given, {}, sigmoid=False, tokenizer=None) is given


@pytest.mark.parametrize(
    "name",
    [
        *("segformer_b0", "detr_resnet50", "videomae_small_patch16_224", "timesformer_base_patch16_224"),
        *("vit_segmenter_small_patch16_224", "adaptive_vit_tiny_patch16_224", "beit_base_patch16_224_pretraining"),
    ],
)
def test_models_without_a_vector_of_an_image_are_a_sentence(name: str) -> None:
    with pytest.raises(
        VitrailError, match="has no vector of an image, of equal patches, which is compared with that of a text: use"
    ):
        with_text_encoder(Stored(model_config(name), {}, (), Preprocess()), TEXTS, sigmoid=False, tokenizer=None)


def test_fields_that_do_not_fit_together_are_a_sentence() -> None:
    fields = {**TEXTS, "text_heads": 3}
    with pytest.raises(VitrailError, match=r"the text encoder of the recipe's overrides cannot be built: .*16.*3"):
        with_text_encoder(stored_of("vit_tiny_patch16_224"), fields, sigmoid=False, tokenizer=None)


def test_a_changed_model_is_a_sentence() -> None:
    given = Stored(ViTConfig(**PATCHES), {}, (), Preprocess(), rewrites=(LoRA(),))
    with pytest.raises(VitrailError, match=r"\(LoRA\), and a text encoder beside it needs the model as it was"):
        with_text_encoder(given, TEXTS, sigmoid=False, tokenizer=None)
