"""Models of pictures and texts against the peers'."""

from pathlib import Path
from typing import Any

import timm
import torch
import transformers
from torch import nn

import vitrail
from vitrail.checkpoint.convert import recognise
from vitrail.checkpoint.convert.rename import to_ours
from vitrail.models.registry import model_config

from .references import assert_same_inside, both_dtypes, count, loaded, on_meta, randomise, saved

SMALL: dict[str, Any] = {"embed_dim": 32, "depth": 2, "num_heads": 4, "num_classes": 9}
"""An image encoder of timm, by its names and by ours."""
_THEIRS = {"hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION: dict[str, Any] = {**_THEIRS, "image_size": 48, "patch_size": 16}
TEXT: dict[str, Any] = {**_THEIRS, "vocab_size": 50, "max_position_embeddings": 12}
"""Both encoders by transformers' names."""
OURS: dict[str, Any] = {
    "image_size": 48,
    "patch_size": 16,
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 4,
    "mlp_ratio": 3.0,
    "context_length": 12,
    "vocab_size": 50,
    "text_dim": 32,
    "text_depth": 2,
    "text_heads": 4,
    "text_mlp_ratio": 3.0,
    "position_antialias": False,
}
"""The same by ours."""
OPEN_TEXT: dict[str, Any] = {
    "context_length": 12,
    "vocab_size": 50,
    "width": 32,
    "heads": 4,
    "layers": 2,
    "mlp_ratio": 3.0,
}
"""The text encoder by open_clip's names."""


def with_timm(name: str, size: int | tuple[int, int], channels: int = 3, **more: Any) -> tuple[nn.Module, nn.Module]:
    """Ours and timm's image encoder, small, with the same random weights."""
    sizes = {**SMALL, **more}
    theirs = randomise(timm.create_model(name, img_size=size, in_chans=channels, **sizes))
    return loaded(model_config(name, image_size=size, in_channels=channels, **sizes), theirs), theirs


def assert_as_many_as_timm(name: str) -> None:
    ours = on_meta(lambda: vitrail.create_model(name))
    assert count(ours) == count(on_meta(lambda: timm.create_model(name, weight_init="skip")))
    assert ours.config.image_size == timm.get_pretrained_cfg(name).input_size[1]


def assert_every_block_of_timms(name: str, beside: dict[str, str]) -> None:
    """All blocks of an image encoder, and what else gives the same, by our names and theirs."""
    ours, theirs = with_timm(name, 64, embed_dim=48, depth=12, num_heads=3)
    pairs = {f"encoder.blocks.{block}": f"blocks.{block}" for block in range(12)}
    assert_same_inside(ours, theirs, {**beside, **pairs}, torch.randn(1, 3, 64, 64))


def assert_same_with_transformers(config: Any, theirs: nn.Module, ids: torch.Tensor, folder: Path) -> None:
    """Under the names of its modules, and under those of the files on the hub."""
    pixels = torch.randn(2, 3, 48, 48)
    assert_same_pairs(loaded(config, theirs), theirs, pixels, ids)
    assert_same_pairs(saved(theirs, config, folder), theirs, pixels, ids)


def assert_same_image_encoder(config: Any, theirs: nn.Module, answer: str, folder: Path) -> None:
    """transformers' image encoder alone; `answer` is what of its output is ours."""
    pixels = torch.randn(2, 3, 48, 48)
    ours = loaded(config, theirs)
    theirs.save_pretrained(folder)
    for model in (ours, vitrail.load(folder).model):
        with torch.no_grad():
            assert (model(pixels) - getattr(theirs(pixels), answer)).abs().max() < 1e-5


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


def assert_same_shapes(ours: nn.Module, theirs: nn.Module) -> None:
    """Every tensor of theirs, under our names, is one of ours in its shape."""
    state = theirs.state_dict()
    renamed = to_ours(state, recognise(state))
    assert (renamed.incomplete, renamed.unexpected) == ((), ())
    shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    assert {name: tensor.shape for name, tensor in renamed.state.items()} == shapes
