"""Pitfalls that a recipe runs into are stated before training, and trends of the log once while it trains."""

from dataclasses import replace

import pytest
from tests.evaluation.small_checkpoint import write_classes

from vitrail.data.augment_options import Augment
from vitrail.errors import VitrailError
from vitrail.training.pitfalls import pitfalls
from vitrail.training.progress_advice import advice
from vitrail.training.reading import reading_of
from vitrail.training.recipe import Recipe
from vitrail.training.resolve import OwnParts, resolve
from vitrail.training.time_budget import fix_steps
from vitrail.training.training_data import SplitData, TrainingData, read_data

SIZES = {"patch_size": 4, "embed_dim": 16, "num_heads": 2, "depth": 1}
BASE = {"model": "vit_tiny_patch16_224", "image_size": 8, "batch_size": 4, "precision": "float32", "steps": 4}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    source = write_classes(tmp_path_factory.mktemp("images") / "animals", each=6)
    return read_data(source, reading_of(Recipe(), labelled=True, skip_bad=False))


def said(data: TrainingData, **changes: object) -> list[str]:
    recipe = Recipe(**{**BASE, "overrides": SIZES, "optimizer": "adamw", **changes})  # type: ignore[arg-type]
    return pitfalls(fix_steps(resolve(recipe, data, OwnParts())))


def test_a_plain_run_has_no_pitfall(data: TrainingData) -> None:
    assert said(data) == []


def test_a_run_without_validation_images_is_refused_before_it_starts(data: TrainingData) -> None:
    empty = replace(data, val=SplitData((), ()))
    with pytest.raises(VitrailError, match=r"has no validation image, .* give a val of more than 0"):
        said(empty)


def test_one_step_of_a_long_epoch_is_more_than_none(data: TrainingData) -> None:
    many = replace(data, train=SplitData(data.train.samples * 1000, data.train.facts * 1000))
    recipe = Recipe(**{**BASE, "steps": 1, "overrides": SIZES, "optimizer": "adamw"})  # type: ignore[arg-type]
    closed = fix_steps(resolve(recipe, many, OwnParts())).recipe
    assert closed.epochs == float(f"{4 / len(many.train):.1g}")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"warmup": 0.0}, "there is no warm-up"),
        ({"overrides": {**SIZES, "depth": 18}}, "18 blocks without layer scale"),
        ({"lr": 1.0}, "often diverges: use --set lr=0.26"),
        ({"steps": 1}, "the run ends after 0.33 epochs"),
        (
            {"epochs": 60, "steps": None, "augment": Augment(crop="none"), "evaluate_every": 60},
            "60 epochs over 14 images without crops will be memorised",
        ),
    ],
)
def test_a_pitfall_is_named_with_the_way_out(data: TrainingData, changes: dict[str, object], words: str) -> None:
    (sentence,) = said(data, **changes)
    assert words in sentence


def rows(train: list[float], val: list[float]) -> list[dict[str, float]]:
    return [
        {"epoch": epoch + 1, "train_loss": one, "val_loss": other}
        for epoch, (one, other) in enumerate(zip(train, val, strict=True))
    ]


def test_a_loss_that_stands_still_is_said_once() -> None:
    falling = [3.0 * 0.8**epoch for epoch in range(12)]
    flat = falling + [falling[-1] * (1 + 0.001 * (-1) ** epoch) for epoch in range(14)]
    said = [advice(rows(flat[:end], flat[:end])) for end in range(1, len(flat) + 1)]
    (at,) = [end for end, lines in enumerate(said, start=1) if lines]
    assert "no longer falls" in said[at - 1][0]
    assert 20 <= at <= 24
    assert not advice(rows(falling, falling))


def test_memorising_is_said_once() -> None:
    train = [2.0 - 0.1 * epoch for epoch in range(15)]
    val = [2.0 - 0.1 * epoch for epoch in range(6)] + [1.5 + 0.05 * epoch for epoch in range(9)]
    said = [advice(rows(train[:end], val[:end])) for end in range(1, 16)]
    (at,) = [end for end, lines in enumerate(said, start=1) if lines]
    assert at == 11
    assert "the validation loss rises since epoch 7" in said[at - 1][0]


def test_features_that_collapse_are_named_once() -> None:
    healthy, collapsed = {"val_rank": 3.3, "val_spread": 0.09}, {"val_rank": 1.0, "val_spread": 0.002}
    assert advice([healthy, healthy]) == []
    (sentence,) = advice([healthy, collapsed])
    assert sentence.startswith("The features have collapsed")
    assert advice([healthy, collapsed, collapsed]) == []
