"""SigLIP against timm, transformers and open_clip."""

from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import timm
import torch
import transformers
from timm.models.vision_transformer import VisionTransformer

import vitrail
from vitrail.errors import VitrailError
from vitrail.models.registry import model_config
from vitrail.models.siglip import DUAL_VARIANTS, IMAGE_VARIANTS, SigLIPConfig

from . import pairs
from .pairs import (
    OPEN_TEXT,
    SMALL,
    TEXT,
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

EXACT, TANH, MEAN = "vit_base_patch16_siglip_224", "vit_so400m_patch16_siglip_256", "vit_base_patch16_siglip_gap_224"
OURS = SigLIPConfig(**pairs.OURS)


def texts(count: int = 3) -> torch.Tensor:
    return torch.randint(0, 50, (count, 12))


@pytest.mark.parametrize("name", IMAGE_VARIANTS)
def test_parameters_of_every_image_row(name: str) -> None:
    assert_as_many_as_timm(name)


@pytest.mark.parametrize("size", [(224, 224), (64, 96), (80, 48)])
@pytest.mark.parametrize("name", [EXACT, TANH, MEAN])
def test_timm_at_any_size(name: str, size: tuple[int, int]) -> None:
    ours, theirs = with_timm(name, size)
    assert_same(ours, theirs, torch.randn(2, 3, *size))


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_timm_with_any_channels(channels: int) -> None:
    ours, theirs = with_timm(EXACT, 48, channels)
    assert_same(ours, theirs, torch.randn(1, channels, 48, 48))


def test_what_is_beyond_the_last_whole_patch_is_left_out() -> None:
    name = "vit_so400m_patch14_siglip_384"
    small = {**SMALL, "image_size": 48}
    theirs = randomise(VisionTransformer(48, 14, 3, 9, "map", 32, 2, 4, 3.7362, class_token=False))
    ours = loaded(model_config(name, **small), theirs)
    assert_same(ours, theirs, torch.randn(2, 3, 48, 48))
    with pytest.raises(ValueError, match="image 9×48 is smaller than a patch 14×14"):
        ours(torch.randn(1, 3, 9, 48))


def test_without_classes_the_pooled_vector_is_the_output() -> None:
    ours, theirs = with_timm(TANH, 48, num_classes=0)
    assert_same(ours, theirs, torch.randn(2, 3, 48, 48))


def test_every_block_of_an_image_encoder() -> None:
    assert_every_block_of_timms(EXACT, {"encoder": "norm"})


def open_clip_name(name: str) -> str:
    """siglip2_so400m_patch14_384 is ViT-SO400M-14-SigLIP2-378, for that is what 14 pixels leave of 384."""
    family, size, patch, image, *rest = name.split("_")
    number = patch.removeprefix("patch")
    size = {"base": "B", "large": "L", "so400m": "SO400M", "giantopt": "gopt"}[size]
    kind = "SigLIP2" if family == "siglip2" else "SigLIP"
    if family == "siglip2" and number == "14" and image == "384":
        image = "378"
    tail = "" if image == "224" else f"-{image}"
    return f"ViT-{size}-{number}-{kind}{'-i18n' if rest else ''}{tail}"


@pytest.mark.parametrize("name", DUAL_VARIANTS)
def test_every_dual_row_is_as_open_clip_has_it(name: str) -> None:
    row, peer = DUAL_VARIANTS[name], open_clip.get_model_config(open_clip_name(name))
    text = peer["text_cfg"]
    assert (row.context_length, row.vocab_size) == (text["context_length"], text["vocab_size"])
    assert (row.text_dim, row.text_depth, row.text_heads) == (text["width"], text["layers"], text["heads"])
    assert row.text_mlp_ratio == text.get("mlp_ratio", 4.0)
    image = IMAGE_VARIANTS[peer["vision_cfg"]["timm_model_name"]]
    # 384 pixels are 27 patches of 14, as 378 are.
    same = {"activation": row.activation, "image_size": row.image_size}
    assert row.image() == replace(image, **same)
    assert abs(row.image_size - image.image_size) < row.patch_size


@pytest.mark.parametrize("name", ["siglip_base_patch16_224", "siglip2_giantopt_patch16_256"])
def test_parameters_of_dual_models(name: str) -> None:
    values = open_clip.get_model_config(open_clip_name(name))
    del values["custom_text"]
    with torch.device("meta"):
        assert_same_shapes(vitrail.create_model(name), open_clip.CustomTextCLIP(**values))


@pytest.mark.parametrize("tanh", [True, False])
def test_open_clip(tanh: bool) -> None:
    name = TANH if tanh else EXACT
    vision = {"image_size": 48, "timm_model_name": name, "timm_pool": "map", "timm_proj": "none"}
    text = {**OPEN_TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}}
    if tanh:
        text["act_kwargs"] = {"approximate": "tanh"}
    with torch.device("meta"):
        theirs = open_clip.CustomTextCLIP(32, vision, text, init_logit_bias=-10)
    # open_clip passes no sizes on to timm.
    small = {"embed_dim": 32, "depth": 2, "num_heads": 4, "mlp_ratio": 3.0}
    theirs.to_empty(device="cpu").visual.trunk = timm.create_model(name, img_size=48, num_classes=0, **small)
    randomise(theirs)
    torch.manual_seed(0)  # whatever building them has drawn
    pixels, ids = 2 * torch.randn(6, 3, 48, 48), texts()
    ours = loaded(replace(OURS, activation="gelu_tanh" if tanh else "gelu"), theirs)
    assert_same_pairs(ours, theirs, pixels, ids)
    inside = {f"text.encoder.blocks.{block}": f"model.text.transformer.resblocks.{block}" for block in range(2)}
    assert_same_inside(ours, Logits(theirs), inside, pixels, ids)


def test_transformers(tmp_path: Path) -> None:
    theirs = randomise(transformers.SiglipModel(transformers.SiglipConfig(text_config=TEXT, vision_config=VISION)))
    assert_same_with_transformers(OURS, theirs, texts(), tmp_path)


def test_transformers_image_encoder(tmp_path: Path) -> None:
    theirs = randomise(transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**VISION)))
    assert_same_image_encoder(OURS.image(), theirs, "pooler_output", tmp_path)


def test_a_text_that_is_too_long_says_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"texts of 13 tokens are longer than the context of 12: truncate them"):
        OURS.build()(torch.randn(1, 3, 48, 48), torch.zeros(1, 13, dtype=torch.long))


def test_an_unknown_activation_says_which_there_are() -> None:
    with pytest.raises(VitrailError, match="did you mean quick_gelu"):
        model_config(EXACT, activation="quickgelu").build()
