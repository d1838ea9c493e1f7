"""Costs by part against the closed form of a ViT, and against loops over the modules of a CNN."""

import pytest
import torch
from torch import nn

from vitrail.cli.parser import parse
from vitrail.cli.plan import Plan
from vitrail.errors import VitrailError
from vitrail.models.registry import create_model, model_config
from vitrail.planning.comparison import Grid, compare, tokens_of
from vitrail.planning.comparison_page import comparison_page, comparison_table, write_comparison
from vitrail.planning.cost import plan
from vitrail.planning.parts import part_costs
from vitrail.planning.speed import estimate, measure

CPU = torch.device("cpu")
SMALL = {"image_size": 32, "patch_size": 8, "embed_dim": 32, "num_heads": 2, "num_classes": 5}


def costs(config, batch=2):
    return {cost.name: cost for cost in part_costs(config, batch, torch.float32, CPU)}


@pytest.mark.parametrize("depth", [1, 4])
def test_a_vit_has_its_closed_form(depth):
    found = costs(model_config("vit_tiny_patch16_224", depth=depth, **SMALL))
    tokens, dim = 17, 32
    assert {name: cost.flops for name, cost in found.items()} == {
        "embed": 2 * 16 * dim * 3 * 8 * 8,
        "attention product": depth * 2 * 2 * tokens**2 * dim,
        "attention projections": depth * 2 * 4 * tokens * dim**2,
        "MLP": depth * 2 * 8 * tokens * dim**2,
        "norms, convolutions, rest": 0,
        "head": 2 * dim * 5,
    }
    assert found["attention projections"].weights == depth * 4 * (4 * dim**2 + 4 * dim)
    assert found["MLP"].weights == depth * 4 * (8 * dim**2 + 5 * dim)
    assert found["norms, convolutions, rest"].weights == 4 * 2 * dim * (2 * depth + 1)
    # The input of the first linear layer, of the activation (4 D wide), and of the second layer.
    assert found["MLP"].activations == depth * 2 * tokens * dim * (1 + 4 + 4) * 4


def counted_by_loop(model, pixels):
    """Multiply-adds of convolutions and linear layers from the shapes of their outputs, as thop and fvcore do."""
    total = 0

    def add(module, inputs, output):
        nonlocal total
        made = output if isinstance(output, tuple) else (output,)  # queries, keys and values of one layer
        total += sum(part.numel() for part in made) * module.weight[0].numel()

    hooks = [m.register_forward_hook(add) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        model(pixels)
    for hook in hooks:
        hook.remove()
    return total


@pytest.mark.parametrize("name", ["resnet18", "compact_small_32"])
def test_a_cnn_is_counted_as_by_a_loop_over_its_modules(name):
    config = model_config(name, image_size=32)
    found = costs(config)
    products = found["attention product"].flops if "attention product" in found else 0
    loop = counted_by_loop(create_model(name, image_size=32).eval(), torch.zeros(1, 3, 32, 32))
    assert sum(cost.flops for cost in found.values()) - products == 2 * loop
    assert ("attention product" in found) == (name == "compact_small_32")


def test_parts_of_a_plan_add_up():
    found = plan(model_config("vit_tiny_patch16_224", depth=2, **SMALL), batch_size=1, by_part=True)
    assert sum(part.flops for part in found.parts) == found.flops == 2 * found.multiply_adds
    assert sum(part.weights for part in found.parts) == found.weights


@pytest.mark.exhaustive
def test_sizes_are_compared_and_those_that_do_not_fit_are_named():
    config = model_config("vit_tiny_patch16_224", depth=1, **SMALL)
    rows = compare(config, Grid(image_sizes=(32, 36), patch_sizes=(8,), beside="compact_tiny_16", batch_size=1))
    assert [(row.model, row.image_size, row.patch_size, row.tokens) for row in rows] == [
        ("ViTConfig", 32, 8, 17),
        ("ViTConfig", 36, 8, None),
        ("compact_tiny_16", 32, None, 64),
        ("compact_tiny_16", 36, None, 81),
    ]
    assert "36" in rows[1].reason
    assert rows[0].seconds is not None
    assert not rows[0].seconds.measured
    headers, cells = comparison_table(rows)
    assert headers[-1] == "train ms"
    assert cells[1][3:] == ["–"] * 8
    text = comparison_page(rows)
    assert "attention product" in text
    assert "left out: 36 px, patch 8" in text


def test_no_size_that_fits_is_an_error():
    config = model_config("vit_tiny_patch16_224", depth=1, **SMALL)
    with pytest.raises(VitrailError, match="33 px"):
        compare(config, Grid(image_sizes=(33,), beside="none"))


def test_time_is_estimated_from_flops_or_measured():
    assert estimate(10**9, flops_per_second=1e11).inference == pytest.approx(0.02)
    assert estimate(10**9, flops_per_second=1e11).training == pytest.approx(0.06)
    found = measure(model_config("vit_tiny_patch16_224", depth=1, **SMALL), 2)
    assert found.measured
    assert found.training > 0


def test_tokens_of_a_cnn_are_cells_of_its_map():
    assert tokens_of(model_config("resnet18")) == 49


def test_lists_of_numbers_may_have_commas():
    found = parse(Plan, ["vit_tiny_patch16_224", "--image-sizes", "224,384", "448", "--patch-sizes", "8,16"])
    assert (found.image_sizes, found.patch_sizes) == ((224, 384, 448), (8, 16))
    with pytest.raises(VitrailError, match="--patch-sizes takes"):
        parse(Plan, ["vit_tiny_patch16_224", "--patch-sizes", "8,x"])


def test_a_comparison_is_written(tmp_path):
    config = model_config("vit_tiny_patch16_224", depth=1, **SMALL)
    write_comparison(compare(config, Grid(image_sizes=(32,), beside="none", batch_size=1)), tmp_path / "plans")
    lines = (tmp_path / "plans/plan.csv").read_text().splitlines()
    assert lines[0].startswith("model,image_size,patch_size,tokens")
    assert lines[1].startswith("ViTConfig,32,,17")
    assert (tmp_path / "plans/plan.html").is_file()


def test_models_of_more_than_images_have_no_number_of_tokens_and_sizes_are_listed_once():
    assert tokens_of(model_config("clip_vit_base_patch16")) is None
    assert tokens_of(model_config("mae_vit_base_patch16")) is None
    rows = compare(model_config("vit_tiny_patch16_224", depth=1, **SMALL), Grid(image_sizes=(32, 32), beside="none"))
    assert [row.image_size for row in rows] == [32]
