"""Operations against the published numbers and the closed form."""

import pytest
import torch

from vitrail.checkpoint.contract import Checkpoint, save
from vitrail.data.preprocess import Preprocess
from vitrail.models.registry import create_model, list_models, model_config
from vitrail.planning.comparison import Grid, compare
from vitrail.planning.cost import plan
from vitrail.planning.flops import FlopCount, count
from vitrail.planning.listing import list_costs
from vitrail.rewrites.registry import rewrite
from vitrail.rewrites.tokens import FuseTokens, MergeTokens, PruneTokens


def closed_form(grid: int, prefix: int, dim: int, depth: int, patch: int, classes: int) -> int:
    """Multiply-adds of a ViT: embedding, 12ND² + 2N²D a block, classifier."""
    patches, tokens = grid * grid, grid * grid + prefix
    block = 12 * tokens * dim**2 + 2 * tokens**2 * dim
    return patches * dim * 3 * patch**2 + depth * block + dim * classes


@pytest.mark.parametrize(
    ("name", "published", "arguments"),
    [
        # GMACs as published with DeiT and timm.
        ("vit_base_patch16_224", 17.6, (14, 1, 768, 12, 16, 1000)),
        ("deit_tiny_patch16_224", 1.3, (14, 1, 192, 12, 16, 1000)),
        ("deit_small_patch16_224", 4.6, (14, 1, 384, 12, 16, 1000)),
        ("vit_large_patch16_224", 61.6, (14, 1, 1024, 24, 16, 1000)),
        ("deit_base_distilled_patch16_384", 55.6, (24, 2, 768, 12, 16, 2000)),
    ],
)
def test_published_multiply_adds(name, published, arguments):
    found = count(model_config(name))
    assert found.flops == 2 * closed_form(*arguments)
    assert found.flops / 2e9 == pytest.approx(published, abs=0.06)


def test_both_paths_of_attention_count_the_same():
    model = create_model("vit_tiny_patch16_224", depth=2, image_size=64)
    pixels = torch.zeros(1, 3, 64, 64)
    with FlopCount() as explicit:  # a CPU with gradients
        model(pixels)
    with FlopCount() as fused, torch.no_grad():
        model(pixels)
    expected = count(model.config).flops
    assert (explicit.total, fused.total) == (expected, expected)


@pytest.mark.parametrize("name", ["vit_small_patch32_224", "compact_small_32", "deit3_medium_patch16_224"])
def test_parameters_equal_those_of_the_built_model(name):
    model = create_model(name)
    assert count(model.config).parameters == sum(parameter.numel() for parameter in model.parameters())


def test_the_list_has_a_row_for_each_model():
    rows = list_costs("deit_*_patch16_384")
    assert [row.name for row in rows] == list_models("deit_*_patch16_384")
    assert rows[-1].size_words == "384×384"
    assert rows[-1].to_dict()["image_size"] == (384, 384)


@pytest.mark.parametrize(
    ("change", "patches", "scores"),
    [
        # Patches in the attention of each block, and those whose attention the class token measures (N keys, width D).
        pytest.param(MergeTokens(r=20), [196, 176, 156, 136], [], marks=pytest.mark.exhaustive),
        pytest.param(PruneTokens(keep=0.5, blocks=(0, 2)), [196, 98, 98, 49], [197, 99], marks=pytest.mark.exhaustive),
        (FuseTokens(keep=0.5, blocks=(0, 2)), [196, 99, 99, 51], [197, 100]),
    ],
)
def test_reduced_models_have_fewer(change, patches, scores):
    after = [*patches[1:], {MergeTokens: 116, PruneTokens: 49, FuseTokens: 51}[type(change)]]
    dim, expected = 192, 196 * 192 * 3 * 256 + 192 * 1000
    for before, left in zip(patches, after, strict=True):
        expected += 4 * (before + 1) * dim**2 + 2 * (before + 1) ** 2 * dim + 8 * (left + 1) * dim**2
        if isinstance(change, MergeTokens):
            expected += (before // 2) * (before // 2) * 64  # similarities of the keys of a head
    expected += sum(keys * dim for keys in scores)
    config = model_config("vit_tiny_patch16_224", depth=4)
    found = count(config, (change,))
    assert found.flops == 2 * expected
    assert found.parameters == count(config).parameters
    planned = plan("vit_tiny_patch16_224", rewrites=(change,), by_part=True)
    assert planned.flops == count(model_config("vit_tiny_patch16_224"), (change,)).flops
    assert sum(part.flops for part in planned.parts) == planned.flops
    assert planned.activations < plan("vit_tiny_patch16_224").activations


def test_a_reduced_checkpoint_is_planned_as_it_is(tmp_path):
    model = rewrite(create_model("vit_tiny_patch16_224", depth=2, image_size=64, embed_dim=24), PruneTokens(0.5))
    save(Checkpoint(model, (), Preprocess()), tmp_path / "x")
    expected = count(model.config, model.rewrites).flops
    assert plan(str(tmp_path / "x")).flops == expected < count(model.config).flops
    (row,) = compare(str(tmp_path / "x"), Grid(image_sizes=(64,), beside="none"))
    assert row.plan is not None
    assert (row.plan.flops, row.tokens) == (expected, 1 + 4)  # 16 patches, then 8, then 4
