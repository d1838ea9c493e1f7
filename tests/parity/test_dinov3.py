"""DINOv3 against timm and transformers."""

import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn

import vitrail
from vitrail.models.dinov3 import VARIANTS, DINOv3Config
from vitrail.models.registry import model_config

from .references import assert_same as assert_equal
from .references import assert_same_inside, both_dtypes, count, loaded, on_meta, randomise

SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 9}
KINDS = ["vit_small_patch16_dinov3", "vit_small_patch16_dinov3_qkvb", "vit_small_plus_patch16_dinov3_qkvb"]


def angles_by_loop(grid: tuple[int, int], quarter: int, base: float) -> Tensor:
    """The angles of the DINOv3 release, entry by entry in double precision."""
    table = []
    for row in range(grid[0]):
        for column in range(grid[1]):
            y, x = 2 * (row + 0.5) / grid[0] - 1, 2 * (column + 0.5) / grid[1] - 1
            table.append([2 * math.pi * place / base ** (i / quarter) for place in (y, x) for i in range(quarter)])
    return torch.tensor(table, dtype=torch.float64).tile(2)


def exact(theirs: nn.Module, grid: tuple[int, int], quarter: int = 4, base: float = 100.0) -> nn.Module:
    """The reference with angles in double precision; its own are rounded to float32, whatever its weights are."""
    angles = angles_by_loop(grid, quarter, base)
    if hasattr(theirs, "rope"):
        theirs.rope.get_embed = lambda shape: torch.cat([angles.sin(), angles.cos()], dim=-1)
    else:
        theirs.rope_embeddings.forward = lambda pixels: (angles.cos(), angles.sin())
    return theirs


def assert_same(ours: nn.Module, theirs: nn.Module, pixels: Tensor) -> None:
    """In float32 against the reference as it is, in float64 against the one with exact angles."""
    with torch.no_grad():
        assert (ours(pixels) - theirs(pixels)).abs().max() <= 2e-5
        grid = (pixels.shape[2] // 16, pixels.shape[3] // 16)
        difference = ours.double()(pixels.double()) - exact(theirs.double(), grid)(pixels.double())
        assert difference.abs().max() <= 1e-10


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    assert count(on_meta(lambda: vitrail.create_model(name))) == count(on_meta(lambda: timm.create_model(name)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(64, 64), (80, 48), (16, 144)])
def test_timm_at_any_size(kind: str, size: tuple[int, int]) -> None:
    theirs = randomise(timm.create_model(kind, img_size=224, **SMALL))
    assert_same(loaded(model_config(kind, **SMALL), theirs), theirs, torch.randn(2, 3, *size))


@pytest.mark.parametrize("channels", [1, 13])
@pytest.mark.parametrize("pool", ["avg", "token"])
def test_channels_and_both_pools(channels: int, pool: str) -> None:
    theirs = randomise(timm.create_model(KINDS[0], in_chans=channels, global_pool=pool, **SMALL))
    config = model_config(KINDS[0], in_channels=channels, pool="mean" if pool == "avg" else "class", **SMALL)
    assert_same(loaded(config, theirs), theirs, torch.randn(2, channels, 64, 64))


def test_every_block_and_the_embedding_without_classes() -> None:
    small = {**SMALL, "depth": 3, "num_classes": 0}
    theirs = exact(randomise(timm.create_model(KINDS[2], **small)).double(), (4, 3))
    ours = loaded(model_config(KINDS[2], **small), theirs.float())
    pixels = torch.randn(1, 3, 64, 48)
    pairs = {f"encoder.blocks.{i}": f"blocks.{i}" for i in range(3)} | {"encoder.norm": "norm", "head": "head"}
    assert_same_inside(ours, theirs, pairs, pixels)


@pytest.mark.parametrize("gated", [False, True])
def test_transformers(tmp_path: Path, gated: bool) -> None:
    card = transformers.DINOv3ViTConfig(
        hidden_size=48,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=3,
        num_register_tokens=4,
        image_size=64,
        use_gated_mlp=gated,
        hidden_act="silu" if gated else "gelu",  # as in the released files
    )
    theirs = randomise(transformers.DINOv3ViTModel(card))
    theirs.save_pretrained(tmp_path)  # under the names of the files on the hub
    model = vitrail.load(tmp_path).model
    state = theirs.state_dict()  # under the names of its modules
    assert loaded(model.config, state).config == model.config
    pixels = torch.randn(2, 3, 64, 96)
    for dtype, tolerance in both_dtypes():
        theirs = theirs.to(dtype) if dtype == torch.float32 else exact(theirs.to(dtype), (4, 6))
        with torch.no_grad():
            seen, ours = theirs(pixels.to(dtype)), model.to(dtype)
            assert (ours.forward_features(pixels.to(dtype)).x - seen.last_hidden_state).abs().max() <= 3 * tolerance
            assert (ours(pixels.to(dtype)) - seen.pooler_output).abs().max() <= 3 * tolerance


@pytest.mark.parametrize("kind", KINDS)
def test_official_names(kind: str, tmp_path: Path) -> None:
    small = {**SMALL, "num_classes": 0}
    theirs = randomise(timm.create_model(kind, global_pool="token", **small))
    state = {"mask_token": torch.randn(1, 48), "rope_embed.periods": 100 ** (torch.arange(4) / 4)}
    names = {"gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma", "reg_token": "storage_tokens"}
    names |= {"mlp.fc1_g": "mlp.w1", "mlp.fc1_x": "mlp.w2"} | ({"mlp.fc2": "mlp.w3"} if "plus" in kind else {})
    for name, tensor in theirs.state_dict().items():
        if name.endswith("q_bias"):
            v_bias = theirs.state_dict()[name.replace("q_bias", "v_bias")]
            root = name.replace("q_bias", "qkv")
            state[f"{root}.bias"] = torch.cat([tensor, torch.zeros(48), v_bias])
            state[f"{root}.bias_mask"] = torch.ones(144)
        elif not name.endswith("v_bias"):
            for old, new in names.items():
                name = name.replace(old, new)
            state[name] = tensor
    config, pixels = model_config(kind, pool="class", **small), torch.randn(2, 3, 64, 64)
    assert_same(loaded(config, state), theirs, pixels)
    save_file(state, tmp_path / "weights.safetensors")
    loaded_alone = vitrail.load(tmp_path / "weights.safetensors", num_heads=3).model
    assert isinstance(loaded_alone.config, DINOv3Config)
    assert_equal(loaded_alone, loaded(config, state), pixels)
