"""Batch norm statistics of the weights that are evaluated, against the mean over the batches in float64."""

import json
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from killable_runs import SMALL, make_pictures
from torch import nn

import vitrail
from vitrail.data.augment_options import Augment
from vitrail.data.loader import TrainLoader
from vitrail.task_spec import TaskSpec
from vitrail.training.batch_statistics import updated_norms, with_statistics
from vitrail.training.loop import Trainer
from vitrail.training.measure import evaluated_weights
from vitrail.training.recipe import Recipe
from vitrail.training.resolve import OwnParts, resolve
from vitrail.training.time_budget import first_plan, fix_steps
from vitrail.training.training_data import Reading, read_data


@pytest.fixture
def model():
    return vitrail.create_model("compact_tiny_16", in_channels=1, num_classes=3).train()


def test_statistics_are_those_of_the_given_weights(model):
    batches = [torch.randn(8, 1, 16, 16) * 3 + 1 for _ in range(3)]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = with_statistics(model, updated_norms(model), batches)
    assert not found.training
    torch.testing.assert_close(dict(model.state_dict()), before, msg="the model itself is unchanged")
    name = updated_norms(model)[0]
    seen = []
    hook = model.get_submodule(name).register_forward_pre_hook(lambda _, given: seen.append(given[0].double()))
    with torch.no_grad():
        for pixels in batches:
            model(pixels)
    hook.remove()
    norm = found.get_submodule(name)
    mean = torch.stack([values.mean(dim=(0, 2, 3)) for values in seen]).mean(dim=0)
    variance = torch.stack([values.var(dim=(0, 2, 3)) for values in seen]).mean(dim=0)
    torch.testing.assert_close(norm.running_mean.double(), mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var.double(), variance, rtol=1e-4, atol=1e-5)
    assert norm.momentum == model.get_submodule(name).momentum


def test_frozen_norms_and_models_without_them_keep_what_they_have(model):
    first = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    first.eval()
    first.running_mean.fill_(5.0)
    names = updated_norms(model)
    found = with_statistics(model, names, [torch.randn(4, 1, 16, 16)])
    frozen = next(module for module in found.modules() if isinstance(module, nn.BatchNorm2d))
    assert (frozen.running_mean == 5).all()
    assert updated_norms(vitrail.create_model("vit_tiny_patch16_224", image_size=32)) == []


@pytest.mark.exhaustive
def test_after_few_steps_the_saved_weights_have_their_own_statistics(tmp_path):
    recipe = Recipe(steps=2, batch_size=64, precision="float32", ema=0.9)
    run = vitrail.train("digits", recipe, out=tmp_path / "run")
    setup = fix_steps(resolve(recipe, read_data("digits", Reading()), OwnParts()))
    loader = setup.eval_loader("train", 128)
    assert isinstance(setup.train_loader(), TrainLoader)
    norms = updated_norms(setup.trainer(first_plan(setup)).model.train())
    batches = [setup.preprocess.normalise(images) for images in loader]
    expected = with_statistics(run.checkpoint.model, norms, batches)
    for name in norms:
        saved, whole = run.checkpoint.model.get_submodule(name), expected.get_submodule(name)
        torch.testing.assert_close(saved.running_mean, whole.running_mean, rtol=0.2, atol=0.1)
        torch.testing.assert_close(saved.running_var, whole.running_var, rtol=0.4, atol=0.1)


@pytest.mark.parametrize("task", ["classification", "detection"])
def test_statistics_are_those_of_the_augmented_images_of_the_first_epoch(task):
    source = "scenes:size=32,train=24,val=6,test=4,objects=1-2,classes=3"
    recipe = Recipe(task=task, steps=2, batch_size=8, precision="float32", augment=Augment(crop="resized"))
    setup = fix_steps(resolve(recipe, read_data(source, Reading(task=TaskSpec(task))), OwnParts()))
    loader = setup.train_loader()
    batch = next(loader.once(0))
    found = torch.cat(list(setup._statistics_batches()))
    order = setup._statistics_images
    assert len(found) == len(order) == 24
    for index, pixels in zip(batch.indices, batch.pixels, strict=True):
        assert torch.equal(found[order.index(index)], pixels)
    assert torch.equal(torch.cat(list(setup._statistics_batches())), found)


def test_the_loss_is_that_of_the_weights_that_are_saved(model):
    """A stand-in for a trainer: its objective saves the model that learns, or another one, as DINO does."""
    other, saved = nn.Identity(), nn.Identity()
    for trained, expected in ((model, saved), (other, model)):
        objective = SimpleNamespace(model=model, trained=lambda trained=trained: trained)
        trainer = cast(Trainer, SimpleNamespace(objective=objective, evaluated=saved, ema=None))
        with evaluated_weights(trainer):
            assert objective.model is expected
        assert objective.model is model


@pytest.mark.exhaustive
def test_the_logged_loss_of_a_pretraining_is_that_of_the_saved_weights(tmp_path):
    """With the statistics of the saved weights: the checkpoint is chosen by this loss."""
    recipe = Recipe(
        model=SMALL.model, overrides=SMALL.overrides, steps=2, batch_size=8, precision="float32", device="cpu"
    )
    run = vitrail.pretrain(
        make_pictures(tmp_path / "album", each=4), recipe, objective="rotation", out=tmp_path / "run"
    )
    found = json.loads((run.path / "evaluation.json").read_text(encoding="utf-8"))
    logged = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert min(row["val_loss"] for row in logged) == pytest.approx(found["loss"], rel=1e-6)
