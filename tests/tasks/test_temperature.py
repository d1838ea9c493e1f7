"""Temperatures against the losses that they minimise, and the probabilities of every command after a run."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import vitrail
from vitrail.checkpoint.contract import Checkpoint
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.lens.watched import predictions, watch
from vitrail.task_spec import MULTI_LABEL, TaskSpec
from vitrail.tasks.classification import Classification
from vitrail.tasks.classification_metrics import score
from vitrail.tasks.registry import resolve
from vitrail.tasks.temperature import above_floor, fit_binary_temperature, fit_floor, fit_temperature, fit_temperatures
from vitrail.training.recipe import Recipe


def independent(count: int, temperatures: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels drawn from sigmoid(logits / temperature), for each class its own."""
    random = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(count, len(temperatures), generator=random, dtype=torch.float64)
    probabilities = (logits / torch.tensor(temperatures, dtype=torch.float64)).sigmoid()
    return logits, torch.bernoulli(probabilities, generator=random)


def test_classes_that_are_independent_have_each_their_own() -> None:
    logits, target = independent(6000, [0.5, 1.0, 3.0])
    found = fit_temperatures(logits, target)
    assert found == pytest.approx([0.5, 1.0, 3.0], rel=0.1)
    for index, best in enumerate(found):
        losses = [
            F.binary_cross_entropy_with_logits(logits[:, index] / (best * factor), target[:, index]).item()
            for factor in (0.95, 1.0, 1.05)
        ]
        assert losses[1] == min(losses)


def test_a_rare_class_has_the_temperature_of_all() -> None:
    logits, target = independent(500, [0.5, 0.5])
    target[:, 1] = 0
    target[:3, 1] = 1
    found = fit_temperatures(logits, target)
    assert found[1] == fit_binary_temperature(logits, target, prior=1.0)
    assert found[0] == fit_binary_temperature(logits[:, 0], target[:, 0], prior=1.0)


def test_images_that_are_all_right_do_not_give_certainty() -> None:
    # With one image of equally probable classes added, the mean probability of the right class is what counts it.
    logits, target = 4 * torch.eye(3).repeat(33, 1), torch.arange(3).repeat(33)
    certain, careful = fit_temperature(logits, target), fit_temperature(logits, target, prior=1.0)
    assert certain == pytest.approx(0.01)
    probability = math.exp(4 / careful) / (math.exp(4 / careful) + 2)
    assert probability == pytest.approx((99 + 1 / 3) / 100, abs=1e-6)


def test_a_task_with_a_temperature_is_stored_and_divides_the_logits() -> None:
    task = Classification(temperature=(2.0,))
    assert resolve(TaskSpec.from_dict(task.spec.to_dict())) == task
    logits = torch.tensor([[2.0, 0.0, -2.0]])
    expected = torch.tensor([1.0, 0.0, -1.0]).softmax(0).tolist()
    (found,) = task.decode(logits, "abc")
    assert [probability for _, probability in found.classes] == pytest.approx(expected)
    many = Classification(labels="many", temperature=(1.0, 2.0, 4.0))
    assert many.probabilities(logits)[0].tolist() == pytest.approx(torch.tensor([2.0, 0.0, -0.5]).sigmoid().tolist())
    with pytest.raises(VitrailError, match="temperatures for 3 classes and outputs for 2"):
        many.probabilities(logits[:, :2])


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_an_impossible_temperature_is_refused(value: float) -> None:
    with pytest.raises(VitrailError, match="more than 0 and finite"):
        resolve(TaskSpec.of("classification", temperature=[value]))


def smoothed(smoothing: float, count: int, classes: int = 10) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Drawn labels, the probabilities they are drawn from, and the logits of a model that smoothed labels trained."""
    random = torch.Generator().manual_seed(0)
    true = (4 * torch.randn(count, classes, generator=random, dtype=torch.float64)).softmax(dim=1)
    target = torch.multinomial(true, 1, generator=random)[:, 0]
    return target, true, ((1 - smoothing) * true + smoothing / classes).log()


@pytest.mark.parametrize("smoothing", [0.1, 0.2])
def test_a_floor_takes_out_what_label_smoothing_has_added(smoothing: float) -> None:
    target, true, logits = smoothed(smoothing, 4000)
    floor, temperature = fit_floor(logits, target)
    assert floor == pytest.approx(2 * smoothing / 10, rel=0.5)
    best = F.nll_loss(true.log(), target).item()
    divided = F.cross_entropy(logits / fit_temperature(logits, target), target).item()
    raised = F.cross_entropy(above_floor(logits, floor) / temperature, target).item()
    assert raised - best < 0.25 * (divided - best)


def test_a_floor_that_gains_nothing_is_none() -> None:
    target, true, _ = smoothed(0.0, 1000)
    assert fit_floor(2 * true.log(), target) == (0.0, fit_temperature(2 * true.log(), target))


def test_above_a_floor_the_order_remains_and_the_formula_holds() -> None:
    logits = torch.tensor([[9.0, 2.0, 1.0, -30.0, -80.0]])
    p = logits.double().softmax(dim=1)
    torch.testing.assert_close(above_floor(logits, 0.01).double().exp(), p / (1 + (0.01 / p) ** 3))
    assert above_floor(logits, 0.01)[0].argsort(descending=True).tolist() == [0, 1, 2, 3, 4]
    task = Classification(temperature=(2.0,), floor=0.01)
    torch.testing.assert_close(task.scaled(logits), above_floor(logits, 0.01) / 2)
    assert Classification(floor=0.01).scaled(logits).equal(above_floor(logits, 0.01))


@pytest.mark.parametrize("options", [{"floor": -0.1}, {"floor": 1.0}, {"floor": 0.1, "labels": "many"}], ids=str)
def test_a_floor_that_is_none_is_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(VitrailError, match="floor"):
        Classification(**options)


def test_metrics_are_those_of_the_scaled_logits() -> None:
    random = torch.Generator().manual_seed(1)
    logits = torch.randn(300, 4, generator=random)
    target = F.one_hot(torch.randint(4, (300,), generator=random), 4).float()
    metrics = Classification(temperature=(0.25,)).metrics("abcd")
    metrics.update(logits, target)
    found, plain, scaled = metrics.compute(), score(logits, target, "abcd"), score(logits * 4, target, "abcd")
    assert (found.loss, found.ece, found.raw_ece) == pytest.approx((scaled.loss, scaled.ece, plain.ece))
    assert (found.top1, plain.raw_ece) == (plain.top1, None)


def test_few_images_give_no_temperature() -> None:
    logits, target = torch.randn(29, 3), F.one_hot(torch.arange(29) % 3, 3).float()
    assert Classification().calibrated(logits, target) == Classification()
    assert Classification().calibrated(logits.repeat(2, 1), target.repeat(2, 1)).temperature


def test_a_fresh_head_has_no_temperature_of_the_former_one(tmp_path: Path) -> None:
    task = Classification(labels="many", temperature=(0.5, 2.0)).spec
    model = vitrail.create_model("compact_tiny_8", depth=1, num_classes=2, task=task)
    preprocess = Preprocess(image_size=(8, 8), mean=(0.5,) * 3, std=(0.5,) * 3)
    vitrail.save(Checkpoint(model, ("a", "b"), preprocess), tmp_path / "x")
    assert vitrail.load(tmp_path / "x").task == task
    assert vitrail.load(tmp_path / "x", image_size=16).task == task
    assert vitrail.load(tmp_path / "x", num_classes=3).task == MULTI_LABEL


@pytest.mark.exhaustive
def test_every_command_gives_the_calibrated_probabilities(tmp_path: object) -> None:
    out = f"{tmp_path}/run"
    small = {"model": "compact_tiny_8", "overrides": {"depth": 1}, "epochs": 1, "workers": 0}
    recipe = Recipe(**small, precision="float32", device="cpu")
    run = vitrail.train("digits", recipe, out=out)
    checkpoint = run.checkpoint
    fitted = dict(checkpoint.task.options)
    (temperature,), floor = fitted["temperature"], fitted.get("floor", 0.0)
    report = json.loads((run.path / "evaluation.json").read_text())
    found = vitrail.evaluate(out, "digits", precision="float32")
    assert (found.loss, found.ece, found.raw_ece) == pytest.approx((report["loss"], report["ece"], report["raw_ece"]))
    assert report["ece"] < report["raw_ece"], "label smoothing makes a model less confident than it is right"
    image = next(iter(vitrail.open_source("digits").samples))
    pixels = checkpoint.preprocess(vitrail.data.open.read_image(image, 1))[None]
    with torch.inference_mode():
        raised = checkpoint.model.eval()(pixels)[0].softmax(0)
        raised = (raised / (1 + (floor / raised) ** 3)) ** (1 / temperature)
        expected = (raised.max() / raised.sum()).item()
    (row,) = predictions(watch(out, device="cpu"), checkpoint.model(pixels), 1)
    assert row.probability == pytest.approx(expected, rel=1e-5)
    rows = {row.path: row for row in vitrail.predict(out, "digits", limit=3, precision="float32")}
    assert next(iter(rows.values())).classes[0][1] == pytest.approx(expected, rel=1e-4)
