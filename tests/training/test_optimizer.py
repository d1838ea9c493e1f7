import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from timm.optim.lamb import Lamb as TimmLamb

from vitrail import create_model
from vitrail.errors import VitrailError
from vitrail.nn.matrices import hidden_matrices
from vitrail.objectives.regression import NumberLoss
from vitrail.training.ema import EMA
from vitrail.training.muon import Muon, orthogonalize
from vitrail.training.optimizer import freeze, make_optimizers, set_lr, train_mode
from vitrail.training.recipe import Recipe
from vitrail.training.schedule import lr_factor, scheduled_factor
from vitrail.training.step_plan import Revision, StepPlan

RECIPE = Recipe(lr=1e-3, batch_size=128, weight_decay=0.1, layer_decay=0.5, optimizer="adamw")


def tiny():
    return create_model("vit_tiny_patch16_224", image_size=32, depth=2, num_classes=3, layer_scale=1e-4)


def test_groups_decay_matrices_only_and_scale_by_layer():
    model = tiny()
    (optimizer,) = make_optimizers(NumberLoss(model), RECIPE)
    names = {param: name for name, param in model.named_parameters()}
    seen = {}
    for group in optimizer.param_groups:
        for param in group["params"]:
            seen[names[param]] = (group["weight_decay"], group["peak_lr"])
    assert set(seen) == set(names.values())
    lr = 1e-3 * 128 / 256
    assert seen["head.classify.weight"] == (0.1, lr)
    assert seen["head.classify.bias"] == (0.0, lr)
    assert seen["encoder.blocks.1.mlp.branch.expand.weight"] == (0.1, pytest.approx(lr * 0.5))
    assert seen["encoder.blocks.0.attention.scale.weight"] == (0.0, pytest.approx(lr * 0.25))
    assert seen["embed.patches.project.weight"] == (0.1, pytest.approx(lr * 0.125))
    for name in ("embed.parts.positions.weight", "embed.parts.prefix.weight", "embed.patches.project.bias"):
        assert seen[name] == (0.0, pytest.approx(lr * 0.125))


def test_the_head_has_a_rate_of_its_own():
    model = tiny()
    (optimizer,) = make_optimizers(NumberLoss(model), replace(RECIPE, head_lr=10.0, layer_decay=1.0))
    names = {param: name for name, param in model.named_parameters()}
    for group in optimizer.param_groups:
        for param in group["params"]:
            times = 10.0 if names[param].startswith("head.") else 1.0
            assert group["peak_lr"] == pytest.approx(1e-3 * 128 / 256 * times)


def test_muon_takes_hidden_matrices_only():
    model = create_model("compact_tiny_16", num_classes=3)
    recipe = Recipe(lr=1e-3, muon_lr=0.02, batch_size=256, optimizer="muon")
    adamw, muon = make_optimizers(NumberLoss(model), recipe)
    names = {param: name for name, param in model.named_parameters()}
    of_muon = {names[param] for group in muon.param_groups for param in group["params"]}
    of_adamw = {names[param] for group in adamw.param_groups for param in group["params"]}
    assert of_muon | of_adamw == set(names.values())
    assert not of_muon & of_adamw
    assert all(name.startswith(("encoder.blocks", "embed.patches.layers")) for name in of_muon)
    assert "embed.patches.layers.0.conv.weight" in of_adamw
    assert "head.classify.weight" in of_adamw


def test_muon_takes_the_hidden_parts_of_a_head():
    model = create_model("compact_detector_small_128", num_classes=3)
    of_head = {name for name in hidden_matrices(model) if name.startswith("head.")}
    filters = {name for name, param in model.head.pyramid.named_parameters() if param.ndim == 4}
    assert of_head == {f"head.pyramid.{name}" for name in filters}
    assert len(filters) == 4


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 6, 20), (1, 20, 6), (3, 7, 5)])
def test_orthogonalize_against_svd(shape, seeded):
    matrix = torch.randn(shape)
    result = orthogonalize(matrix, steps=12)
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    singular = torch.linalg.svdvals(result)
    assert singular.min() > 0.6
    assert singular.max() < 1.3
    # The same singular vectors: only the values change.
    core = u.mT @ result @ vt.mT
    assert (core - torch.diag_embed(core.diagonal(dim1=-2, dim2=-1))).abs().max() < 1e-3


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 6, 60), (2, 60, 6)])
@pytest.mark.parametrize("decades", [0, 4])
def test_orthogonalize_is_the_iteration_in_float64(shape, decades, seeded):
    matrices = torch.randn(shape)
    u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
    matrices = u @ torch.diag_embed(torch.logspace(0, -decades, u.shape[2]).expand(2, -1)) @ vt
    for found, matrix in zip(orthogonalize(matrices), matrices.double(), strict=True):
        x = matrix / matrix.norm()
        for _ in range(5):
            x = 3.4445 * x - 4.7750 * x @ x.T @ x + 2.0315 * x @ x.T @ x @ x.T @ x
        torch.testing.assert_close(found.double(), x, atol=1e-3, rtol=0)


def test_muon_step_by_hand(seeded):
    weight = torch.nn.Parameter(torch.randn(4, 6))
    before, gradient = weight.detach().clone(), torch.randn(4, 6)
    weight.grad = gradient.clone()
    Muon([weight], lr=0.1, momentum=0.9, weight_decay=0.01).step()
    momentum = 0.1 * gradient
    ahead = 0.1 * gradient + 0.9 * momentum
    expected = before * (1 - 0.1 * 0.01) - 0.1 * orthogonalize(ahead[None])[0]
    torch.testing.assert_close(weight.detach(), expected)


def test_freeze_keeps_dropout_and_batch_statistics_at_rest():
    model = create_model("compact_tiny_16", num_classes=3, dropout=0.1)
    freeze(model, ("embed.*", "encoder.*"))
    train_mode(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(torch.randn(4, 3, 16, 16)).sum().backward()
    assert {n for n, p in model.named_parameters() if p.grad is not None} == {
        "head.classify.weight",
        "head.classify.bias",
    }
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    with pytest.raises(VitrailError, match="matches no parameter"):
        freeze(model, ("backbone.*",))
    with pytest.raises(VitrailError, match="leaves no parameter to train"):
        freeze(model, ("*",))


def test_schedule_closed_form():
    factors = [lr_factor(step, 100, warmup=10, final=0.1) for step in range(100)]
    assert factors[:10] == [pytest.approx((step + 1) / 10) for step in range(10)]
    assert factors[10] == 1
    assert factors[55] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 2)) / 2)
    assert lr_factor(100, 100, warmup=10, final=0.1) == pytest.approx(0.1)
    assert lr_factor(55, 100, warmup=10, schedule="linear") == pytest.approx(0.5)
    assert set_lr([], 1.0) is None


def test_a_warmup_of_a_length_keeps_it_when_the_plan_is_revised():
    fixed = StepPlan.fixed(100, 100)
    for step in range(101):
        wanted = lr_factor(step, 100, warmup=20, final=0.1)
        assert scheduled_factor(fixed, step, warmup="20 steps", final=0.1) == pytest.approx(wanted)
        assert scheduled_factor(fixed, step, warmup="4 epochs", steps_per_epoch=5, final=0.1) == pytest.approx(wanted)
        assert scheduled_factor(fixed, step, warmup=0.2, final=0.1) == wanted
        assert scheduled_factor(fixed, step, warmup="0 steps") == pytest.approx(lr_factor(step, 100, warmup=0))
    plan = StepPlan.fixed(1000, 1000)
    factors = []
    for step in range(200):
        if step == 15:
            plan.revise(Revision(15, plan.fraction(15), 60, 60, 60))
        if step == 40:
            plan.revise(Revision(40, plan.fraction(40), 200, 200, 200))
        factors.append(scheduled_factor(plan, step, warmup="30 steps"))
    assert factors[:30] == pytest.approx([(step + 1) / 30 for step in range(30)])
    assert factors[-1] < 0.001
    assert max(abs(a - b) for a, b in pairwise(factors)) < 0.07


def test_a_warmup_longer_than_half_of_the_schedule_falls_without_a_jump():
    factors = [scheduled_factor(StepPlan.fixed(100, 100), step, warmup="70 steps") for step in range(100)]
    assert factors[:50] == pytest.approx([(step + 1) / 70 for step in range(50)])
    assert max(abs(a - b) for a, b in pairwise(factors)) < 0.04
    assert factors[-1] < 0.01


@pytest.mark.parametrize("warmup", ["5", "five epochs", "-1 steps", "5 days", "nan epochs", "inf steps", 1.0, -0.1])
def test_other_warmups_are_errors(warmup):
    with pytest.raises(VitrailError, match=r"recipe\.warmup is .*5 epochs"):
        Recipe(warmup=warmup)


def test_lamb_is_timms_without_its_clipping():
    model, other = tiny(), tiny()
    other.load_state_dict(model.state_dict())
    recipe = Recipe(optimizer="lamb", lr=3e-3, batch_size=256, weight_decay=0.05, betas=(0.8, 0.95))
    (ours,) = make_optimizers(NumberLoss(model), recipe)
    (groups,) = make_optimizers(NumberLoss(other), recipe)
    given = [{key: group[key] for key in ("params", "weight_decay")} for group in groups.param_groups]
    theirs = TimmLamb(given, lr=3e-3, betas=(0.8, 0.95), max_grad_norm=None)
    for _ in range(3):
        pixels = torch.randn(2, 3, 32, 32)
        for each, optimizer in ((model, ours), (other, theirs)):
            optimizer.zero_grad()
            each(pixels).square().sum().backward()
            optimizer.step()
    for (name, mine), his in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, his, msg=name, rtol=1e-4, atol=1e-6)


def test_the_linear_rule_has_a_base_batch():
    model = NumberLoss(tiny())
    recipe = Recipe(optimizer="adamw", lr=5e-4, batch_size=64, accumulate=16)
    assert make_optimizers(model, recipe)[0].param_groups[0]["peak_lr"] == pytest.approx(2e-3)
    deit = replace(recipe, lr_batch=512)
    assert make_optimizers(model, deit)[0].param_groups[0]["peak_lr"] == pytest.approx(1e-3)


def test_ema_closed_form(seeded):
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    ema = EMA(model, decay=0.5)
    expected = model[0].weight.detach().clone()
    for step in range(20):
        with torch.no_grad():
            model[0].weight.add_(torch.randn(2, 3))
            model[1].running_mean.add_(1)
        ema.update(model, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model[0].weight.detach()
    torch.testing.assert_close(ema.model[0].weight, expected)
    assert torch.equal(ema.model[1].running_mean, model[1].running_mean)


def test_filters_of_free_scale_keep_their_norm_and_turn():
    torch.manual_seed(0)
    model = create_model("whitened_small_32", stem=((8, 8), (16,)), embed_dim=16, depth=1, num_heads=2, num_classes=3)
    recipe = Recipe(lr=1e-3, muon_lr=0.02, batch_size=256, optimizer="muon", weight_decay=0.1)
    _, muon = make_optimizers(NumberLoss(model), recipe)
    free = next(group for group in muon.param_groups if group["scale_free"])
    kept = next(group for group in muon.param_groups if not group["scale_free"])
    assert [tuple(param.shape) for param in free["params"]] == [(8, 24, 3, 3), (8, 8, 3, 3), (16, 8, 3, 3)]
    assert (free["peak_lr"], kept["peak_lr"]) == (pytest.approx(0.12), 0.02)
    assert not model.embed.patches.layers[0].weight.requires_grad
    assert not model.embed.patches.layers[4].weight.requires_grad  # the batch norm's factors

    filters = free["params"][0]
    gradient = torch.randn_like(filters)
    for param in [*free["params"], *kept["params"]]:
        param.grad = torch.zeros_like(param)
    filters.grad = gradient
    with torch.no_grad():
        filters.mul_(3)
    before = filters.detach().double().flatten(1)
    set_lr([muon], 1.0)
    muon.step()
    direction = orthogonalize(gradient.flatten(1)[None])[0].double()
    expected = before * (8**0.5 / before.norm()) - 0.12 * direction
    assert (filters.detach().double().flatten(1) - expected).abs().max() < 1e-5
