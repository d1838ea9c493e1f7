"""CLIP against timm, transformers and open_clip, which keeps OpenAI's names."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import transformers
from torch import nn

import vitrail
from vitrail.errors import VitrailError
from vitrail.models.clip import DUAL_VARIANTS, IMAGE_VARIANTS, CLIPConfig

from . import pairs
from .pairs import (
    OPEN_TEXT,
    VISION,
    Logits,
    assert_as_many_as_timm,
    assert_every_block_of_timms,
    assert_same_image_encoder,
    assert_same_pairs,
    assert_same_shapes,
    assert_same_with_transformers,
    with_timm,
)
from .references import assert_same, assert_same_inside, loaded, randomise

QUICK, EXACT = "vit_base_patch16_clip_quickgelu_224", "vit_base_patch16_clip_224"
TEXT: dict[str, Any] = {**pairs.TEXT, "eos_token_id": 49}
OURS = CLIPConfig(**pairs.OURS, joint_dim=20)


def texts(count: int = 3, length: int = 12) -> torch.Tensor:
    """Token numbers of texts of several lengths, each with its end, and padding that a causal model does not see."""
    ids = torch.randint(1, 48, (count, length))
    for row, end in enumerate(torch.randint(2, length, (count,)).tolist()):
        ids[row, end], ids[row, end + 1 :] = 49, 49 * (row % 2)
    return ids


@pytest.mark.parametrize("name", IMAGE_VARIANTS)
def test_parameters_of_every_image_row(name: str) -> None:
    assert_as_many_as_timm(name)


@pytest.mark.parametrize("size", [(224, 224), (224, 320), (80, 48)])
@pytest.mark.parametrize("name", [QUICK, EXACT])
def test_timm_at_any_size(name: str, size: tuple[int, int]) -> None:
    ours, theirs = with_timm(name, size)
    assert_same(ours, theirs, torch.randn(2, 3, *size))


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_timm_with_any_channels(channels: int) -> None:
    ours, theirs = with_timm(QUICK, 48, channels)
    assert_same(ours, theirs, torch.randn(1, channels, 48, 48))


def test_every_block_of_an_image_encoder() -> None:
    assert_every_block_of_timms(QUICK, {"embed": "norm_pre"})


OPEN_CLIP = {
    "clip_vit_base_patch32": "ViT-B-32-quickgelu",
    "clip_vit_base_patch16": "ViT-B-16-quickgelu",
    "clip_vit_large_patch14": "ViT-L-14-quickgelu",
    "clip_vit_large_patch14_336": "ViT-L-14-336-quickgelu",
    "clip_vit_huge_patch14": "ViT-H-14",
    "clip_vit_giant_patch14": "ViT-g-14",
    "clip_vit_gigantic_patch14": "ViT-bigG-14",
}


@pytest.mark.parametrize("name", DUAL_VARIANTS)
def test_parameters_of_every_dual_row(name: str) -> None:
    values = open_clip.get_model_config(OPEN_CLIP[name])
    with torch.device("meta"):
        ours, theirs = vitrail.create_model(name), open_clip.CLIP(**values)
    assert_same_shapes(ours, theirs)
    assert ours.config.activation == ("quick_gelu" if values.get("quick_gelu") else "gelu")
    assert ours.config.num_heads == theirs.visual.transformer.resblocks[0].attn.num_heads
    assert ours.config.text_heads == theirs.transformer.resblocks[0].attn.num_heads


def small_open_clip(**more: Any) -> nn.Module:
    vision = {"image_size": 48, "patch_size": 16, "width": 32, "head_width": 8, "layers": 2, "mlp_ratio": 3.0}
    return randomise(open_clip.CLIP(20, vision, OPEN_TEXT, **more))


@pytest.mark.parametrize("quick", [True, False])
def test_open_clip(quick: bool) -> None:
    theirs = small_open_clip(quick_gelu=quick)
    config = replace(OURS, activation="quick_gelu" if quick else "gelu")
    ours = loaded(config, theirs)
    assert_same_pairs(ours, theirs, torch.randn(2, 3, 48, 48), texts())
    inside = {f"text.encoder.blocks.{block}": f"transformer.resblocks.{block}" for block in range(2)}
    inside |= {f"image.encoder.blocks.{block}": f"visual.transformer.resblocks.{block}" for block in range(2)}
    inside = {mine: f"model.{name}" for mine, name in inside.items()}
    assert_same_inside(ours, Logits(theirs), inside, torch.randn(2, 3, 48, 48), texts())


def test_official_file_names_what_it_counts() -> None:
    theirs = small_open_clip(quick_gelu=True)
    counts = {"input_resolution": 48, "context_length": 12, "vocab_size": 50}
    state = {**theirs.state_dict(), **{name: torch.tensor(number) for name, number in counts.items()}}
    assert_same_pairs(loaded(OURS, state), theirs, torch.randn(1, 3, 48, 48), texts())


def test_transformers(tmp_path: Path) -> None:
    config = transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=20)
    theirs = randomise(transformers.CLIPModel(config))
    assert_same_with_transformers(OURS, theirs, texts(), tmp_path)


def test_an_end_that_is_not_the_highest_number_is_refused(tmp_path: Path) -> None:
    text = {**TEXT, "eos_token_id": 7}
    transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=VISION)).save_pretrained(tmp_path)
    with pytest.raises(VitrailError, match="end a text with token 7: only the last token, 49"):
        vitrail.load(tmp_path)


def test_transformers_at_another_size() -> None:
    config = transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=20)
    theirs = randomise(transformers.CLIPModel(config))
    pixels, ids = torch.randn(2, 3, 80, 64), texts()
    with torch.no_grad():
        there = theirs(pixel_values=pixels, input_ids=ids, interpolate_pos_encoding=True).logits_per_image
        assert (loaded(OURS, theirs)(pixels, ids) - there).abs().max() < 1e-5


def test_transformers_image_encoder(tmp_path: Path) -> None:
    theirs = randomise(
        transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**VISION, projection_dim=20))
    )
    assert_same_image_encoder(OURS.image(), theirs, "image_embeds", tmp_path)


def test_names_of_modules_before_version_5() -> None:
    theirs = randomise(transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**VISION)))
    state = theirs.state_dict()
    assert all(name.startswith(("vision_model.", "visual_projection.")) for name in state)
    bare = {name.removeprefix("vision_model."): tensor for name, tensor in state.items()}
    ours = replace(OURS, joint_dim=512).image().build()
    expected = vitrail.convert_state_dict(state, ours)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in vitrail.convert_state_dict(bare, ours).items())
