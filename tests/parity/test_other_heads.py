"""transformers' classes beside the usual ones: encoders alone, other heads, masked pre-training."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from torch import nn

import vitrail
from vitrail.nn import joined

from .references import randomise

VIT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 48,
    "patch_size": 16,
}
SWIN: dict[str, Any] = {"image_size": 64, "embed_dim": 24, "depths": [2, 2], "num_heads": [1, 2], "window_size": 4}
VIDEO: dict[str, Any] = {**VIT, "num_frames": 4}
DECODER = {"decoder_hidden_size": 32, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
CVT: dict[str, Any] = {"embed_dim": [16, 32, 64], "num_heads": [1, 2, 4], "depth": [1, 2, 3]}
SEGFORMER: dict[str, Any] = {
    "hidden_sizes": [8, 16, 32, 32],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 2, 2, 4],
    "decoder_hidden_size": 16,
}
TEXT = {"vocab_size": 50, "max_position_embeddings": 12, "hidden_size": 32, "num_attention_heads": 4}


def read(theirs: nn.Module, folder: Path) -> vitrail.Checkpoint:
    randomise(theirs).save_pretrained(folder)
    return vitrail.load(folder)


def assert_close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.02
    assert (ours - theirs).abs().max() < 2e-5 * max(1.0, float(theirs.abs().max()))


CLASSIFIERS = [
    hf.DeiTForImageClassification(hf.DeiTConfig(**VIT)),
    hf.SiglipForImageClassification(hf.SiglipConfig(vision_config=VIT, text_config=TEXT, num_labels=5)),
    hf.CLIPForImageClassification(hf.CLIPConfig(vision_config=VIT, text_config=TEXT, num_labels=5)),
]


@pytest.mark.parametrize("theirs", CLASSIFIERS, ids=lambda model: type(model).__name__)
@torch.no_grad()
def test_classifiers(theirs: nn.Module, tmp_path: Path) -> None:
    checkpoint = read(theirs, tmp_path)
    pixels = torch.randn(2, 3, 48, 48)
    assert_close(checkpoint.model(pixels), theirs(pixels).logits)
    with_classes = vitrail.load(tmp_path, num_classes=7).model(pixels)
    assert with_classes.shape == (2, 7)


ENCODERS = [
    (hf.DeiTModel(hf.DeiTConfig(**VIT)), (3, 48, 48)),
    (hf.ViTForMaskedImageModeling(hf.ViTConfig(**VIT)), (3, 48, 48)),
    (hf.DeiTForMaskedImageModeling(hf.DeiTConfig(**VIT)), (3, 48, 48)),
    (hf.SwinForMaskedImageModeling(hf.SwinConfig(**SWIN)), (3, 64, 64)),
    (hf.Swinv2ForMaskedImageModeling(hf.Swinv2Config(**SWIN)), (3, 64, 64)),
    (hf.CvtModel(hf.CvtConfig(**CVT)), (3, 64, 64)),
    (hf.SegformerModel(hf.SegformerConfig(**SEGFORMER)), (3, 64, 64)),
]


@pytest.mark.parametrize(("theirs", "shape"), ENCODERS, ids=[type(model).__name__ for model, _ in ENCODERS])
@torch.no_grad()
def test_encoders(theirs: nn.Module, shape: tuple[int, ...], tmp_path: Path) -> None:
    checkpoint = read(theirs, tmp_path)
    pixels = torch.randn(2, *shape)
    encoder = theirs.base_model
    expected = encoder(pixels).last_hidden_state
    tokens = checkpoint.model.forward_features(pixels)
    found = tokens.patches.transpose(1, 2).unflatten(2, tokens.grid) if expected.ndim == 4 else tokens.x
    assert_close(found, expected)
    if theirs is not encoder:
        assert "decoder" in " ".join(checkpoint.info["adapted"])
    assert joined(vitrail.load(tmp_path, num_classes=4).model(pixels)).shape == (2, 4)


VIDEO_ENCODERS = [
    hf.VideoMAEModel(hf.VideoMAEConfig(**VIDEO)),
    hf.VideoMAEForPreTraining(hf.VideoMAEConfig(**VIDEO, **DECODER, decoder_intermediate_size=64)),
]


@pytest.mark.parametrize("theirs", VIDEO_ENCODERS, ids=lambda model: type(model).__name__)
@torch.no_grad()
def test_video_encoders(theirs: nn.Module, tmp_path: Path) -> None:
    checkpoint = read(theirs, tmp_path)
    videos = torch.randn(2, 3, 4, 48, 48)
    expected = theirs.base_model(videos.transpose(1, 2)).last_hidden_state
    assert_close(checkpoint.model.forward_features(videos).x, expected)
    assert_close(checkpoint.model(videos), expected.mean(dim=1))


VIDEO_CLASSIFIERS = [
    hf.VideoMAEForVideoClassification(hf.VideoMAEConfig(**VIDEO, num_labels=5, use_mean_pooling=mean))
    for mean in (True, False)
]


@pytest.mark.parametrize("theirs", VIDEO_CLASSIFIERS, ids=["mean", "first token"])
@torch.no_grad()
def test_video_classifiers(theirs: nn.Module, tmp_path: Path) -> None:
    checkpoint = read(theirs, tmp_path)
    videos = torch.randn(2, 3, 4, 48, 48)
    assert_close(checkpoint.model(videos), theirs(videos.transpose(1, 2)).logits)
    assert vitrail.load(tmp_path, num_classes=7).model(videos).shape == (2, 7)


@torch.no_grad()
def test_a_video_encoder_with_a_norm_of_its_tokens(tmp_path: Path) -> None:
    theirs = hf.VideoMAEModel(hf.VideoMAEConfig(**VIDEO, use_mean_pooling=False))
    checkpoint = read(theirs, tmp_path)
    videos = torch.randn(2, 3, 4, 48, 48)
    expected = theirs(videos.transpose(1, 2)).last_hidden_state
    assert_close(checkpoint.model.forward_features(videos).x, expected)
    assert_close(checkpoint.model(videos), expected[:, 0])
