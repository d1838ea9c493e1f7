"""VideoMAE against transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import vitrail
from vitrail.checkpoint.convert.rename import to_theirs
from vitrail.checkpoint.convert.videomae import OFFICIAL
from vitrail.models.registry import model_config
from vitrail.models.videomae import VARIANTS, VideoMAEConfig

from .references import (
    FramesFirst,
    assert_same,
    assert_same_inside,
    check_round_trip,
    count,
    loaded,
    on_meta,
    randomise,
    saved,
)

SMALL: dict[str, Any] = {"embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 9}


def theirs_of(config: VideoMAEConfig) -> transformers.VideoMAEForVideoClassification:
    """transformers' model of a config of ours."""
    card = transformers.VideoMAEConfig(
        image_size=config.image_size,
        num_frames=config.num_frames,
        patch_size=config.patch_size,
        tubelet_size=config.tubelet_frames,
        num_channels=config.in_channels,
        num_labels=config.num_classes,
        hidden_size=config.embed_dim,
        num_hidden_layers=config.depth,
        num_attention_heads=config.num_heads,
        intermediate_size=int(config.mlp_ratio * config.embed_dim),
        layer_norm_eps=config.norm_eps,
    )
    return transformers.VideoMAEForVideoClassification(card)


def small(**fields: Any) -> VideoMAEConfig:
    return VideoMAEConfig(**{**SMALL, "image_size": 48, "norm_eps": 1e-12, "pool_norm_eps": 1e-5, **fields})


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    short = model_config(name, image_size=32, num_frames=2)  # no parameter depends on these
    assert count(on_meta(lambda: vitrail.create_model(name))) == count(on_meta(lambda: theirs_of(short)))


@pytest.mark.parametrize(("frames", "size"), [(16, (32, 32)), (4, (48, 32)), (6, (80, 48)), (2, (16, 96))])
def test_any_size_and_length(frames: int, size: tuple[int, int]) -> None:
    config = small(image_size=size, num_frames=frames)
    theirs = FramesFirst(randomise(theirs_of(config)))
    assert_same(loaded(config, theirs.model), theirs, torch.randn(2, 3, frames, *size))


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_any_channels_and_tubelets(channels: int) -> None:
    config = small(in_channels=channels, num_frames=6, tubelet_frames=3)
    theirs = FramesFirst(randomise(theirs_of(config)))
    assert_same(loaded(config, theirs.model), theirs, torch.randn(1, channels, 6, 48, 48))


def test_every_block_of_a_whole_model() -> None:
    config = small(num_frames=4, depth=12, embed_dim=48)
    theirs = FramesFirst(randomise(theirs_of(config)))
    pairs = {f"encoder.blocks.{block}": f"model.videomae.encoder.layer.{block}" for block in range(config.depth)}
    assert_same_inside(loaded(config, theirs.model), theirs, pairs, torch.randn(1, 3, 4, 48, 48))


def test_a_folder_of_transformers(tmp_path: Path) -> None:
    config = small(num_frames=4)
    theirs = randomise(theirs_of(config))
    assert_same(saved(theirs, config, tmp_path), FramesFirst(theirs), torch.randn(2, 3, 4, 48, 48))


def test_official_names_and_what_pre_training_leaves() -> None:
    config = small(num_frames=4)
    model = randomise(config.build())
    check_round_trip(to_theirs(model.state_dict(), OFFICIAL, num_heads=1))
    before = randomise(transformers.VideoMAEForPreTraining(theirs_of(config).config))
    converted = vitrail.convert_state_dict(before.state_dict() | headless(theirs_of(config)), config.build())
    weight = converted["encoder.blocks.1.mlp.branch.expand.weight"]
    assert torch.equal(weight, before.videomae.encoder.layer[1].intermediate.dense.weight)


def headless(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if name.startswith(("fc_norm", "classifier"))}


def test_videos_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"5×48×48 is not a multiple of patch 2×16×16"):
        small(num_frames=4).build()(torch.randn(1, 3, 5, 48, 48))
    padded = small(num_frames=4, pad=True).build().eval()
    video = torch.randn(1, 3, 3, 40, 48)
    filled = torch.nn.functional.pad(video, (0, 0, 0, 8, 0, 1))
    assert torch.equal(padded(video), padded(filled))


def test_positions_may_keep_their_grid() -> None:
    kept = small(num_frames=4, position_grid=(2, 3, 3)).build().eval()
    free = small(num_frames=4).build().eval()
    free.load_state_dict(kept.state_dict())
    same, other = torch.randn(1, 3, 4, 48, 48), torch.randn(1, 3, 8, 32, 80)
    assert torch.equal(kept(same), free(same))
    assert not torch.equal(kept(other), free(other))
