"""CLIP against timm, transformers and open_clip, which keeps OpenAI's names."""

from pathlib import Path
from typing import Any

import open_clip
import pytest
import timm
import torch
import transformers
from torch import nn

import vitrail
from vitrail.models.clip import DUAL_VARIANTS, IMAGE_VARIANTS, CLIPConfig, CLIPVisionConfig
from vitrail.models.registry import model_config

from .references import assert_same, assert_same_inside, both_dtypes, count, loaded, on_meta, randomise

SMALL: dict[str, Any] = {"embed_dim": 32, "depth": 2, "num_heads": 4, "num_classes": 9}
QUICK, EXACT = "vit_base_patch16_clip_quickgelu_224", "vit_base_patch16_clip_224"
THEIRS: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
VISION: dict[str, Any] = {**THEIRS, "image_size": 48, "patch_size": 16}
TEXT: dict[str, Any] = {**THEIRS, "vocab_size": 50, "max_position_embeddings": 12, "eos_token_id": 49}
OURS = CLIPConfig(
    image_size=48,
    patch_size=16,
    embed_dim=32,
    depth=2,
    num_heads=4,
    mlp_ratio=3.0,
    context_length=12,
    vocab_size=50,
    text_dim=32,
    text_depth=2,
    text_heads=4,
    text_mlp_ratio=3.0,
    joint_dim=20,
    position_antialias=False,
)


def texts(count: int = 3, length: int = 12) -> torch.Tensor:
    """Token numbers of texts of several lengths, each with its end, and padding that a causal model does not see."""
    ids = torch.randint(1, 48, (count, length))
    for row, end in enumerate(torch.randint(2, length, (count,)).tolist()):
        ids[row, end], ids[row, end + 1 :] = 49, 49 * (row % 2)
    return ids


class Logits(nn.Module):
    """A peer's dual model as pixels, ids -> logits (A, B)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        if isinstance(self.model, transformers.PreTrainedModel):
            return self.model(pixel_values=pixels, input_ids=ids).logits_per_image
        return self.model.get_logits(pixels, ids)[0]


def assert_same_pairs(ours: nn.Module, theirs: nn.Module, pixels: torch.Tensor, ids: torch.Tensor) -> None:
    """Logits of pictures and texts agree: to 1e-5 of the largest in float32, to 1e-10 in float64."""
    peer = Logits(theirs)
    for dtype, tolerance in both_dtypes():
        with torch.no_grad():
            a, b = ours.to(dtype)(pixels.to(dtype), ids), peer.to(dtype)(pixels.to(dtype), ids)
        assert b.std() > 0.02, "the reference's logits hardly vary: the comparison would say nothing"
        assert a.shape == b.shape == (len(pixels), len(ids))
        assert (a - b).abs().max() <= tolerance * max(1.0, float(b.abs().max())), dtype


@pytest.mark.parametrize("name", IMAGE_VARIANTS)
def test_parameters_of_every_image_row(name: str) -> None:
    # A block more or less is the same everywhere: two depths tell those of all.
    row, peer = IMAGE_VARIANTS[name], timm.get_pretrained_cfg(name)
    ours, theirs = on_meta(lambda: vitrail.create_model(name, depth=2)), on_meta(lambda: timm.create_model(name, depth=2))
    assert count(ours) == count(theirs)
    assert (row.image_size, row.num_classes) == (peer.input_size[1], peer.num_classes)


@pytest.mark.parametrize("size", [(224, 224), (224, 320), (80, 48)])
@pytest.mark.parametrize("name", [QUICK, EXACT])
def test_timm_at_any_size(name: str, size: tuple[int, int]) -> None:
    theirs = randomise(timm.create_model(name, img_size=size, **SMALL))
    ours = loaded(model_config(name, image_size=size, **SMALL), theirs)
    assert_same(ours, theirs, torch.randn(2, 3, *size))


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_timm_with_any_channels(channels: int) -> None:
    theirs = randomise(timm.create_model(QUICK, img_size=48, in_chans=channels, **SMALL))
    ours = loaded(model_config(QUICK, image_size=48, in_channels=channels, **SMALL), theirs)
    assert_same(ours, theirs, torch.randn(1, channels, 48, 48))


def test_every_block_of_an_image_encoder() -> None:
    theirs = randomise(timm.create_model(QUICK, img_size=64, depth=12, embed_dim=48, num_heads=3))
    ours = loaded(model_config(QUICK, image_size=64, depth=12, embed_dim=48, num_heads=3), theirs)
    pairs = {f"encoder.blocks.{block}": f"blocks.{block}" for block in range(12)}
    assert_same_inside(ours, theirs, {"embed": "norm_pre", **pairs}, torch.randn(1, 3, 64, 64))
