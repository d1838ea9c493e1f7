"""TimeSformer against transformers, and against the published code where transformers leaves it."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

import vitrail
from vitrail.checkpoint.convert.rename import to_theirs
from vitrail.checkpoint.convert.timesformer import LAYOUTS
from vitrail.models.registry import model_config
from vitrail.models.timesformer import VARIANTS, TimeSformerConfig

from .references import FramesFirst, assert_same, check_round_trip, count, loaded, on_meta, randomise, saved

SMALL: dict[str, Any] = {"embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 9}
THEIRS = {"divided": "divided_space_time", "joint": "joint_space_time", "space": "space_only"}


def theirs_of(config: TimeSformerConfig) -> transformers.TimesformerForVideoClassification:
    """transformers' model of a config of ours."""
    card = transformers.TimesformerConfig(
        image_size=config.image_size,
        num_frames=config.num_frames,
        patch_size=config.patch_size,
        num_channels=config.in_channels,
        num_labels=config.num_classes,
        hidden_size=config.embed_dim,
        num_hidden_layers=config.depth,
        num_attention_heads=config.num_heads,
        intermediate_size=int(config.mlp_ratio * config.embed_dim),
        attention_type=THEIRS[config.attention],
        layer_norm_eps=config.norm_eps,
    )
    return transformers.TimesformerForVideoClassification(card)


def small(**fields: Any) -> TimeSformerConfig:
    return TimeSformerConfig(**{**SMALL, "image_size": 48, "num_frames": 4, **fields})


class MeanBeforeNorm(nn.Module):
    """Space only, as published: the mean over the frames, then the norm. transformers gives logits of each frame."""

    def __init__(self, model: transformers.TimesformerForVideoClassification) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        inner = self.model.timesformer
        frames = inner.encoder(inner.embeddings(pixels.transpose(1, 2))).last_hidden_state
        mean = frames.unflatten(0, (-1, pixels.shape[2])).mean(dim=1)
        return self.model.classifier(inner.layernorm(mean)[:, 0])


def reference(config: TimeSformerConfig) -> FramesFirst | MeanBeforeNorm:
    theirs = randomise(theirs_of(config))
    return MeanBeforeNorm(theirs) if config.attention == "space" else FramesFirst(theirs)


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    theirs = on_meta(lambda: theirs_of(model_config(name)))
    assert count(on_meta(lambda: vitrail.create_model(name))) == count(theirs)


def test_published_sizes() -> None:
    """Bertasius et al., 2021, table 1: 85.9 M for space and joint, 121.4 M for divided."""
    millions = {kind: count(on_meta(TimeSformerConfig(attention=kind).build)) / 1e6 for kind in THEIRS}
    assert millions == pytest.approx({"divided": 121.4, "joint": 85.9, "space": 85.9}, abs=0.4)


@pytest.mark.parametrize("kind", THEIRS)
@pytest.mark.parametrize(("frames", "side", "channels"), [(4, 48, 3), (1, 32, 1), (3, 80, 4), (8, 16, 13)])
def test_any_length_size_and_channels(kind: str, frames: int, side: int, channels: int) -> None:
    config = small(attention=kind, num_frames=frames, image_size=side, in_channels=channels)
    theirs = reference(config)
    assert_same(loaded(config, theirs.model), theirs, torch.randn(2, channels, frames, side, side))


@pytest.mark.parametrize("kind", THEIRS)
@pytest.mark.parametrize("size", [(96, 48), (48, 96), (32, 144)])
def test_pictures_of_other_sizes_than_the_model_was_built_for(kind: str, size: tuple[int, int]) -> None:
    theirs = reference(small(attention=kind))
    assert_same(loaded(small(attention=kind), theirs.model), theirs, torch.randn(2, 3, 4, *size))


def test_other_lengths_than_the_model_was_built_for() -> None:
    """transformers' joint attention resamples its time positions to the nearest."""
    theirs = reference(small(attention="joint"))
    for frames in (2, 3, 7, 8):
        assert_same(loaded(small(attention="joint"), theirs.model), theirs, torch.randn(2, 3, frames, 48, 48))


@pytest.mark.parametrize("kind", ["divided", "joint"])
def test_every_block_of_a_whole_model(kind: str) -> None:
    """transformers keeps the frames of a place together, and we the places of a frame."""
    config = small(attention=kind, depth=12, embed_dim=48)
    theirs = reference(config).double()
    ours, pixels = loaded(config, theirs.model).double(), torch.randn(1, 3, 4, 48, 48, dtype=torch.float64)
    blocks = [f"encoder.blocks.{block}" for block in range(config.depth)]
    with torch.no_grad(), vitrail.observe_features(ours, *blocks) as seen:
        ours(pixels)
        hidden = theirs.model.timesformer(pixels.transpose(1, 2), output_hidden_states=True).hidden_states
    for name, expected in zip(blocks, hidden[1:], strict=True):
        place_by_place = seen[name].patches.unflatten(1, (4, -1)).transpose(1, 2).flatten(1, 2)
        mine = torch.cat([seen[name].x[:, :1], place_by_place], dim=1)
        assert (mine - expected).abs().max() <= 1e-10 * max(1.0, float(expected.abs().max())), name


def test_a_folder_of_transformers(tmp_path: Path) -> None:
    for kind in THEIRS:
        theirs = reference(small(attention=kind))
        ours = saved(theirs.model, small(attention=kind), tmp_path / kind)
        assert_same(ours, theirs, torch.randn(2, 3, 4, 48, 48))


@pytest.mark.parametrize("kind", THEIRS)
def test_official_names(kind: str) -> None:
    model = randomise(small(attention=kind).build())
    layout = next(layout for layout in LAYOUTS if layout.name == f"official TimeSformer, {kind}")
    theirs = to_theirs(model.state_dict(), layout, num_heads=1)
    state = {f"model.{name}": tensor for name, tensor in theirs.items()}
    check_round_trip({"model_state": state})
    assert state["model.patch_embed.proj.weight"].ndim == 4


def test_divided_attention_starts_as_vit_but_for_its_first_block() -> None:
    model = small(depth=3).build()
    dense = [block.time.branch.attention.project.dense.weight for block in model.encoder.blocks]
    assert [bool(weight.any()) for weight in dense] == [True, False, False]
