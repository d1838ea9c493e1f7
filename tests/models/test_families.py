"""The smallest row of every family: forward, backward, other sizes, channels, compile, export, save, load."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_leaves

import vitrail
from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.data.preprocess import Preprocess
from vitrail.models.parts import example_inputs, task_of
from vitrail.models.registry import model_config
from vitrail.nn.attend import ATTENDS
from vitrail.nn.encoder import Encoder, Levels, Stage, checkpoint_activations
from vitrail.nn.model import VisionModel
from vitrail.nn.tokens import Tokens

SMALLEST: dict[str, dict[str, Any]] = {
    "vit_tiny_patch32_224": {"image_size": 64, "depth": 2},
    "simple_vit_tiny_patch16_224": {"image_size": 64, "depth": 2},
    "deit_tiny_distilled_patch16_224": {"image_size": 64, "depth": 2},
    "deit3_small_patch16_224": {"image_size": 64, "depth": 2},
    "compact_tiny_16": {"depth": 2},
    "swin_tiny_patch4_window7_224": {"image_size": 64, "embed_dim": 24, "depths": (2, 2), "num_heads": (1, 2)},
    "vit_local_tiny_patch16_224": {"image_size": 64, "depth": 2, "window_size": 3},
    "vit_neighbourhood_tiny_patch16_224": {"image_size": 64, "depth": 2, "window_size": 3},
    "vit_axial_tiny_patch16_224": {"image_size": 64, "depth": 2},
    "vit_strided_tiny_patch16_224": {"image_size": 64, "depth": 2},
    "vit_sparse_tiny_patch16_224": {"image_size": 64, "depth": 2, "block_size": 2},
    "vit_linear_tiny_patch16_224": {"image_size": 64, "depth": 2},
    "vit_performer_tiny_patch16_224": {"image_size": 64, "depth": 2, "num_features": 32},
    "vit_relative_tiny_patch16_224": {"image_size": 64, "depth": 2},
}
ROWS = pytest.mark.parametrize("name", SMALLEST)


def build(name: str, **overrides: Any) -> VisionModel:
    """A small model of a family; rates that it has no field for are left out."""
    fields = {field.name for field in dataclasses.fields(model_config(name))}
    rates = {key: value for key, value in overrides.items() if key not in ("drop_path", "dropout") or key in fields}
    classes = {"num_classes": 5} if "num_classes" in fields else {}
    return vitrail.create_model(name, **{**classes, **SMALLEST[name], **rates})


def inputs(model: VisionModel, batch: int = 2) -> tuple[torch.Tensor, ...]:
    """Random pixels, and whatever else the model takes."""
    pixels, *rest = example_inputs(model.config, batch)
    return (pixels.normal_(), *rest)


def numbers(output: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]


def assert_close(output: Any, expected: Any) -> None:
    for mine, other in zip(numbers(output), numbers(expected), strict=True):
        assert torch.allclose(mine, other, atol=1e-5)


@ROWS
def test_forward_and_backward_reach_every_parameter(name: str) -> None:
    model = build(name, drop_path=0.3, dropout=0.1)
    output = model(*inputs(model, batch=8))
    assert all(len(leaf) == 8 for leaf in numbers(output))
    if task_of(model.config) == "classification":
        assert output.shape == (8, 5)
    sum((leaf * torch.randn_like(leaf)).sum() for leaf in numbers(output)).backward()
    assert not [key for key, value in model.named_parameters() if value.grad is None]


@ROWS
def test_a_batch_of_one_and_the_features(name: str) -> None:
    model = build(name).eval()
    images, *rest = inputs(model, batch=2)
    with torch.no_grad():
        both, one = model(images, *rest), model(images[:1], *(more[:1] for more in rest))
    for two, single in zip(numbers(both), numbers(one), strict=True):
        assert two[:1].shape == single.shape
    assert_close([leaf[:1] for leaf in numbers(both)], one)
    assert numbers(model.forward_features(images))


@ROWS
@pytest.mark.parametrize("size", [(64, 96), (32, 160)])
@pytest.mark.parametrize("channels", [1, 4])
def test_other_sizes_and_channels(name: str, size: tuple[int, int], channels: int) -> None:
    model = build(name, in_channels=channels).eval()
    assert model(torch.randn(2, channels, *size)).shape == (2, 5)
    assert build(name, in_channels=channels, image_size=size)(torch.randn(2, channels, *size)).shape == (2, 5)


def test_compiles_as_one_graph() -> None:
    script = Path(__file__).with_name("compiled.py")
    subprocess.run([sys.executable, script, json.dumps(SMALLEST)], check=True)


@ROWS
def test_exports_with_any_batch(name: str) -> None:
    model = build(name).eval()
    given = inputs(model)
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(model, given, dynamic_shapes=tuple({0: batch} for _ in given)).module()
    more = inputs(model, batch=5)
    with torch.no_grad():
        assert_close(exported(*more), model(*more))


@ROWS
def test_checkpointed_activations_give_the_same_gradients(name: str) -> None:
    model = build(name)
    given = inputs(model)
    gradients = []
    for _ in range(2):
        model.zero_grad()
        sum(leaf.square().mean() for leaf in numbers(model(*given))).backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
        checkpoint_activations(model)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


@ROWS
def test_saves_and_loads(name: str, tmp_path: Path) -> None:
    model = build(name).eval()
    names = tuple("abcde") if task_of(model.config) == "classification" else ()
    save(Checkpoint(model, names, Preprocess()), tmp_path / "x")
    given = inputs(model)
    again = load(tmp_path / "x").model
    assert all(torch.equal(a, b) for a, b in zip(numbers(again(*given)), numbers(model(*given)), strict=True))


@ROWS
def test_features_of_every_block_and_attention_where_there_is_some(name: str) -> None:
    model = build(name).eval()
    blocks = [
        f"{holder}.blocks.{index}"
        for holder, module in model.named_modules()
        if isinstance(module, Encoder | Levels | Stage)
        for index in range(len(module.blocks))
    ]
    given = inputs(model)
    with vitrail.features(model, *blocks) as seen, torch.no_grad():
        model(*given)
    assert all(isinstance(tokens, Tokens) for tokens in seen.values())
    assert set(seen) == set(blocks)
    if any(isinstance(module, ATTENDS) for module in model.modules()):
        with vitrail.observe(model) as weights, torch.no_grad():
            model(*given)
        assert len(weights)
        assert all(torch.isfinite(layer).all() for layer in weights.values())


@ROWS
def test_the_config_rebuilds_the_model(name: str) -> None:
    model = build(name)
    again = model.config.build()
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
