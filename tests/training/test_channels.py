"""Statistics of channels: NumPy's values, all their digits, and an error for channels without contrast."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from killable_runs import SMALL
from PIL import Image

from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.training.channels import channel_statistics, require_scale
from vitrail.training.recipe import Recipe
from vitrail.training.recipe_file import set_fields
from vitrail.training.resolve import OwnParts, resolve
from vitrail.training.run import train
from vitrail.training.training_data import Reading, read_data


def statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return channel_statistics(lambda index: torch.from_numpy(images[index]), len(images), 0)


@pytest.mark.parametrize("scale", [1e-7, 1e-3, 0.3, 1.0, 500.0, 1e6])
def test_digits_are_kept_at_any_scale(scale: float) -> None:
    images = (np.random.default_rng(0).normal(2, 1, (20, 2, 8, 8)) * scale).astype(np.float32)
    mean, std = statistics(images)
    np.testing.assert_allclose(mean, images.mean((0, 2, 3), dtype=np.float64), rtol=2e-3)
    np.testing.assert_allclose(std, images.std((0, 2, 3), dtype=np.float64), rtol=2e-3)


def test_ordinary_statistics_have_four_places() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    mean, std = statistics(images)
    assert mean == tuple(round(v, 4) for v in (images / 255).mean((0, 2, 3)).tolist())
    assert std == tuple(round(v, 4) for v in (images / 255).std((0, 2, 3)).tolist())


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_a_channel_without_contrast_is_named(noise: float) -> None:
    random = np.random.default_rng(0)
    images = random.normal(0, 1, (20, 4, 8, 8)).astype(np.float32)
    images[:, 2] = 0.7 + noise * random.normal(0, 1, (20, 8, 8))
    with pytest.raises(VitrailError, match=r"of the 4 channels .* channel 3 \(always 0\.7\) holds the same value"):
        statistics(images)
    with pytest.raises(VitrailError, match=r"channel 1 \(always 0\), channel 2 \(always 0\) hold the same"):
        statistics(np.zeros((3, 2, 4, 4), np.uint8))


@pytest.fixture
def red(tmp_path: Path) -> Path:
    """Class folders of colour images without blue."""
    random = np.random.default_rng(0)
    for row, name in enumerate(("dark", "light")):
        (tmp_path / "red" / name).mkdir(parents=True)
        for number in range(10):
            image = random.integers(100 * row, 100 * row + 150, (16, 16, 3), dtype=np.uint8)
            image[:, :, 2] = 0
            Image.fromarray(image).save(tmp_path / "red" / name / f"{number}.png")
    return tmp_path / "red"


def test_the_settings_that_the_error_names_train_with_a_constant_channel(
    red: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitrail.training.run.outline", lambda *plan: "")  # it takes longer than the run
    recipe = replace(SMALL, epochs=None, steps=2, batch_size=8, val=0.2, test=0.2)
    with pytest.raises(VitrailError, match=r"channel 3 \(always 0\) holds the same value") as raised:
        train(red, recipe, out=tmp_path / "run")
    settings = shlex.split(str(raised.value).partition("--set ")[2])
    kept = set_fields(recipe, settings)
    run = train(red, kept, out=tmp_path / "run")
    preprocess = run.checkpoint.preprocess
    rows = (run.path / "splits.csv").read_text().splitlines()
    names = [row.split(",")[0] for row in rows if row.split(",")[2] == "train"]
    images = np.stack([np.asarray(Image.open(red / name)) for name in names]) / 255
    np.testing.assert_allclose(preprocess.mean, images.mean((0, 1, 2)), atol=1e-4)
    np.testing.assert_allclose(preprocess.std, [*images[..., :2].std((0, 1, 2)), 1], atol=1e-4)
    pixels = preprocess(Image.open(red / names[0]))
    assert (pixels[2] == 0).all()
    own = replace(recipe, weights=str(run.path), mean=(0.5, 0.4, 0.0), std=(0.2, 0.3, 1.0))
    tuned = resolve(own, read_data(red, Reading()), OwnParts()).checkpoint
    assert (tuned.preprocess.mean, tuned.preprocess.std) == (own.mean, own.std)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mean": (0.5, 0.5, 0.5)}, "recipe.std is missing"),
        ({"std": (0.5, 0.5, 0.5)}, "recipe.mean is missing"),
        ({"mean": (0.5,), "std": (0.5,)}, "recipe.mean has 1 values for 3 channels"),
    ],
)
def test_statistics_are_given_for_every_channel(red: Path, tmp_path: Path, changes: Any, words: str) -> None:
    with pytest.raises(VitrailError, match=words):
        train(red, replace(SMALL, **changes), out=tmp_path / "run")
    for std in (0.0, -1.0, float("nan")):
        with pytest.raises(VitrailError, match=r"recipe\.std is"):
            Recipe(mean=(0.0,), std=(std,))


def test_a_constant_channel_of_floats_can_be_fine_tuned() -> None:
    images = np.random.default_rng(0).random((20, 3, 8, 8)).astype(np.float32)
    images[:, 1] = 0.4
    require_scale(lambda index: torch.from_numpy(images[index]), len(images), 0, Preprocess())
    with pytest.raises(VitrailError, match="hold the same value"):
        require_scale(lambda index: torch.full((3, 8, 8), 0.4), 3, 0, Preprocess())


def test_another_scale_than_that_of_the_weights_is_refused() -> None:
    images = np.random.default_rng(0).random((20, 3, 8, 8)).astype(np.float32)

    def check(values: np.ndarray) -> None:
        require_scale(lambda index: torch.from_numpy(values[index]), len(values), 0, Preprocess())

    check(images)
    check(images * 3 - 1)
    with pytest.raises(VitrailError, match="another scale than those of the weights"):
        check(images * 255)
