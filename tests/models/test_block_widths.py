"""Blocks of different widths: built, counted against the closed form, saved, planned, and equal to zeroed full ones."""

import re
from pathlib import Path

import pytest
import torch

import vitrail
from tests.models.test_families import SMALLEST
from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.models.families import own_variants
from vitrail.models.fields import BlockFields
from vitrail.models.registry import model_config
from vitrail.planning.flops import count

SMALL = {"image_size": 32, "embed_dim": 48, "depth": 2, "num_heads": 4, "num_classes": 3}
PRUNED = {"block_heads": (3, 1), "block_head_dims": (12, 8), "block_mlp_dims": (100, 7)}
ROWS = [name for name in SMALLEST if isinstance(own_variants()[name], BlockFields)]


@pytest.mark.parametrize("name", ROWS)
def test_every_family_with_such_fields_builds_saves_and_loads(name: str, tmp_path: Path) -> None:
    depth = model_config(name, **SMALLEST[name]).depth
    fields = {"block_heads": (1,) * depth, "block_mlp_dims": tuple(range(5, 5 + depth))}
    model = vitrail.create_model(name, **{**SMALLEST[name], **fields}).eval()
    mlps = [
        value for key, value in model.state_dict().items() if re.search(r"mlp\.(.*\.)?branch\.contract\.weight$", key)
    ]
    assert list(dict.fromkeys(weight.shape[1] for weight in mlps))[:depth] == list(range(5, 5 + depth))
    save(Checkpoint(model, (), Preprocess()), tmp_path / "x")
    assert load(tmp_path / "x").model.config == model.config


def test_parameters_and_operations_against_the_closed_form() -> None:
    config = model_config("vit_tiny_patch16_224", **SMALL, **PRUNED)
    dim, tokens, patches = 48, 5, 4
    parameters = patches * 0 + (3 * 16 * 16 + 1) * dim + dim + tokens * dim + 2 * dim + (dim + 1) * 3
    multiply_adds = patches * 3 * 16 * 16 * dim + dim * 3
    for heads, head_dim, hidden in ((3, 12, 100), (1, 8, 7)):
        inner = heads * head_dim
        parameters += (dim + 1) * 3 * inner + (inner + 1) * dim + (dim + 1) * hidden + (hidden + 1) * dim + 4 * dim
        multiply_adds += tokens * (4 * dim * inner + 2 * dim * hidden) + 2 * tokens * tokens * inner
    found = count(config)
    assert (found.parameters, found.flops) == (parameters, 2 * multiply_adds)


def test_a_pruned_block_is_the_full_one_without_what_was_zero() -> None:
    full = vitrail.create_model("vit_tiny_patch16_224", **SMALL).double().eval()
    kept_heads, kept_hidden = [0, 2, 3], list(range(100))
    slim = vitrail.create_model("vit_tiny_patch16_224", **SMALL, block_heads=(3, 4), block_mlp_dims=(100, 192)).double()
    state = full.state_dict()
    block = "encoder.blocks.0"
    rows = torch.cat([torch.arange(12) + 12 * head for head in kept_heads])
    for part in ("weight", "bias"):
        qkv = state[f"{block}.attention.branch.qkv.{part}"]
        state[f"{block}.attention.branch.qkv.{part}"] = qkv.unflatten(0, (3, 48))[:, rows].flatten(0, 1)
        state[f"{block}.mlp.branch.expand.{part}"] = state[f"{block}.mlp.branch.expand.{part}"][kept_hidden]
    project, contract = (
        full.get_parameter(f"{block}.attention.branch.project.weight"),
        full.get_parameter(f"{block}.mlp.branch.contract.weight"),
    )
    with torch.no_grad():
        project[:, 12:24] = 0
        contract[:, 100:] = 0
    state[f"{block}.attention.branch.project.weight"] = project[:, rows]
    state[f"{block}.mlp.branch.contract.weight"] = contract[:, kept_hidden]
    slim.load_state_dict(state)
    pixels = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(slim.eval()(pixels), full(pixels), rtol=0, atol=1e-12)


def test_a_narrow_block_of_detr_is_the_full_one_without_what_was_zero() -> None:
    sizes = {"image_size": 32, "embed_dim": 16, "depth": 1, "decoder_depth": 1, "num_heads": 4, "num_queries": 2}
    full = vitrail.create_model("detr_resnet50", **sizes, depths=(1, 1, 1, 1)).double().eval()
    slim = vitrail.create_model("detr_resnet50", **sizes, depths=(1, 1, 1, 1), block_heads=(2,)).double().eval()
    attention, kept = full.get_submodule("encoder.blocks.0.attention.branch"), [*range(4), *range(8, 12)]
    with torch.no_grad():
        attention.project.weight[:, [4, 5, 6, 7, 12, 13, 14, 15]] = 0
    state = full.state_dict()
    for part in ("weight", "bias"):
        name = f"encoder.blocks.0.attention.branch.qkv.{part}"
        state[name] = state[name].unflatten(0, (3, 16))[:, kept].flatten(0, 1)
    state["encoder.blocks.0.attention.branch.project.weight"] = attention.project.weight[:, kept]
    slim.load_state_dict(state)
    pixels = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(slim(pixels).logits, full(pixels).logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize("entries", [(3,), (3, 0), (3, 1, 1), (3, 1.5)])
def test_one_whole_number_for_each_block(entries: tuple[int, ...]) -> None:
    with pytest.raises(VitrailError, match=r"block_heads=.* for depth=2: give a whole number from 1 for each block"):
        model_config("vit_tiny_patch16_224", **{**SMALL, "block_heads": entries})


def test_a_plan_measures_every_block() -> None:
    deep = {**SMALL, "depth": 6}
    first, last = (
        count(model_config("vit_tiny_patch16_224", **deep, block_mlp_dims=hidden)).flops
        for hidden in ((500, 1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 500))
    )
    assert first == last
    assert (
        first - count(model_config("vit_tiny_patch16_224", **deep, block_mlp_dims=(1,) * 6)).flops == 2 * 5 * 96 * 499
    )


@pytest.mark.parametrize(
    "name", ["swin_tiny_patch4_window7_224", "adaptive_vit_tiny_patch16_224", "vit_linear_tiny_patch16_224"]
)
def test_families_whose_blocks_cannot_differ_say_so(name: str) -> None:
    with pytest.raises(VitrailError, match="its blocks cannot have widths of their own"):
        model_config(name, block_heads=(1, 2))


def test_a_shared_table_of_positions_needs_as_many_heads_in_each_block() -> None:
    with pytest.raises(VitrailError, match="one table of relative positions serves all blocks"):
        model_config("beit_base_patch16_224_pretraining", embed_dim=48, depth=2, num_heads=3, block_heads=(1, 2))
