"""Each test of robustness on models whose answers are known."""

import numpy as np
import pytest
import torch
from torch import nn

from vitrail.data.preprocess import Preprocess
from vitrail.engines.predictor import Predictor
from vitrail.engines.torch_engine import TorchEngine
from vitrail.progress import silent
from vitrail.study.robustness_tests import adversarial, calibrations, conflicts, fitting_images, shifts, sketches
from vitrail.study.studied_model import StudiedModel, channels_first
from vitrail.tasks.classification import Classification

SIDE = 32


class Known(nn.Module):
    """A rule in place of a model: (B, C, H, W) from 0 to 1 -> (B, K)."""

    def __init__(self, rule):
        super().__init__()
        self.rule = rule
        self.place = nn.Parameter(torch.zeros(1))

    def forward(self, pixels):
        return self.rule(pixels) + 0 * self.place


def asked(rule, images, labels):
    plain = Preprocess(image_size=(SIDE, SIDE), crop=1.0, mean=(0.0,) * 3, std=(1.0,) * 3)
    model = Known(rule)
    names = [str(index) for index in range(max(labels) + 1)]
    predictor = Predictor(TorchEngine(model, "cpu", "float32"), plain, Classification(), names, batch_size=4)
    fitted = tuple(channels_first(image) for image in images)
    return StudiedModel(predictor, model, fitted, tuple(images), torch.tensor(labels), ())


def values(rows):
    return {row.test: row.value for row in rows}


def squares():
    """Class 0: small and red; class 1: large and blue; on black. With masks."""
    images, masks, labels = [], [], []
    for place in range(6):
        label = place % 2
        side, colour = ((8, (200, 0, 0)), (20, (0, 0, 200)))[label]
        mask = np.zeros((SIDE, SIDE), bool)
        mask[place : place + side, place : place + side] = True
        images.append((mask[:, :, None] * np.array(colour)).astype(np.uint8))
        masks.append(mask)
        labels.append(label)
    return images, masks, labels


def by_area(pixels):
    inside = (pixels.amin(dim=1) < 0.9).double().mean(dim=(1, 2))
    return torch.stack([torch.full_like(inside, 0.2), inside], dim=1)


def by_colour(pixels):
    inside = pixels.amin(dim=1, keepdim=True) < 0.9
    return (pixels * inside).sum(dim=(2, 3))[:, [0, 2]]


@pytest.mark.parametrize(("rule", "shape", "texture"), [(by_area, 1, 0), (by_colour, 0, 1)])
def test_a_rule_of_shape_and_one_of_texture_are_told_apart(rule, shape, texture):
    images, masks, labels = squares()
    found = values(conflicts(asked(rule, images, labels), masks, seed=0))
    assert found["object cut out"] == 1
    assert (found["cue conflict: shape"], found["cue conflict: texture"]) == (shape, texture)
    assert found["shape bias"] == shape


def test_a_model_that_names_neither_cue_has_no_shape_bias_and_hidden_objects_stay_out():
    images, masks, labels = squares()
    never = asked(lambda pixels: torch.tensor([0.0, 0, 1]).expand(len(pixels), 3), images, labels)
    assert values(conflicts(never, masks, seed=0))["shape bias"] is None
    rows = conflicts(asked(by_area, images, labels), [None, *masks[1:]], seed=0)
    assert [len(row.each) for row in rows[:3]] == [5, 5, 5]


def test_an_answer_that_names_the_place_moves_and_one_that_does_not_stays():
    images = [np.zeros((SIDE, SIDE, 3), np.uint8) for _ in range(4)]
    for place, image in enumerate(images):
        image[:, 5 + place] = 255
    labels = [5, 6, 7, 8]
    where = values(shifts(asked(lambda pixels: pixels.mean(dim=(1, 2)), images, labels), seed=0))
    total = values(shifts(asked(lambda pixels: pixels.mean(dim=(2, 3)).cumsum(1), images, labels), seed=0))
    for part in (32, 16, 8):
        assert where[f"same answer, shifted 1/{part}"] == 0
        assert total[f"same answer, shifted 1/{part}"] == 1


def test_shuffled_cells_keep_every_value_and_leave_their_places():
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (SIDE + 1, SIDE + 1, 3), dtype=np.uint8) for _ in range(8)]
    seen = []
    shifts(asked(lambda pixels: seen.append(pixels.clone()) or pixels.mean(dim=(2, 3)), images, [0] * 8), seed=0)
    whole = torch.cat(seen[:2])
    for mixed in (torch.cat(seen[-4:-2]), torch.cat(seen[-2:])):
        assert torch.equal(mixed.flatten(1).sort().values, whole.flatten(1).sort().values)
        assert torch.equal(mixed[:, :, -1], whole[:, :, -1])  # 33 px are not four times anything
        assert not torch.equal(mixed, whole)


def test_drawings_have_no_colour():
    images, _, labels = squares()

    def by_saturation(pixels):
        colour = (pixels.amax(1) - pixels.amin(1)).sum((1, 2))
        return torch.stack([colour, torch.full_like(colour, 0.01)], 1)

    assert (asked(by_saturation, images, labels).logits(images).argmax(1) == 0).all()
    assert values(sketches(asked(by_saturation, images, [1] * 6))) == {"sketch sobel": 1, "sketch xdog": 1}


def test_attacks_turn_exactly_those_that_are_near_the_border():
    # The answer is 1 where the mean is above one half; FGSM of ε moves the mean by ε, and no attack by more.
    images = [np.full((SIDE, SIDE, 3), value, np.uint8) for value in (100, 126, 129, 140)]
    rule = lambda pixels: torch.stack([0 * pixels.mean((1, 2, 3)), pixels.mean((1, 2, 3)) - 0.5], 1) * 100  # noqa: E731
    found = values(adversarial(asked(rule, images, [0, 0, 1, 1]), (1.0, 4.0, 20.0), 10, 0, silent))
    assert [found[f"FGSM ε={epsilon}/255"] for epsilon in (1, 4, 20)] == [1, 0.5, 0.25]
    assert [found[f"PGD ε={epsilon}/255"] for epsilon in (1, 4, 20)] == [1, 0.5, 0.25]


def test_the_temperature_of_val_is_used_on_the_images():
    images, _, labels = squares()
    rule = lambda pixels: 4 * by_colour(pixels).sign().double()  # noqa: E731
    # On val a quarter is wrong: sigmoid(4 / T) = 3 / 4.
    val = asked(rule, images[:4] * 8, [0, 1, 0, 0] * 8)
    found = values(calibrations(asked(rule, images, labels), val, seed=0))
    assert found["temperature"] == pytest.approx(4 / np.log(3))
    assert found["ECE"] == pytest.approx(1 / (1 + np.exp(4)))
    assert found["ECE at temperature"] == pytest.approx(0.25)
    assert found["Brier at temperature"] == pytest.approx(2 * 0.25**2)


def test_no_temperature_is_fitted_on_a_few_images():
    images, _, labels = squares()
    rule = lambda pixels: 4 * by_colour(pixels).sign().double()  # noqa: E731
    few = asked(rule, images[:4] * 7, [0, 1, 0, 0] * 7)
    found = values(calibrations(asked(rule, images, labels), few, seed=0))
    assert found["temperature"] == 1
    assert found["ECE at temperature"] == found["ECE"]
    many = asked(rule, images[:4] * 15, [0, 1, 0, 0] * 15)  # 60, so that each half has enough for the other
    assert fitting_images(many, few) == "halves"
    assert values(calibrations(many, few, seed=0))["temperature"] == pytest.approx(4 / np.log(3))
