"""Sentences on what the result of a run is worth, for the terminal, the report and the model card."""

import math
from collections import Counter

from ...data.samples import Sample
from ...data.survey import Survey
from ...objectives.supervised import SupervisedConfig
from ...tasks.outcomes import Evaluation, Names
from ...tasks.worth import FEW
from ..loop import Trainer
from ..recipe import Recipe, chosen, timed
from ..setup import RunSetup

_RARE = 10
"""Fewer training images than this are hardly learned from."""

_LONGER, _ENOUGH_EPOCHS = 10, 5
"""A run that learned nothing needs at least this factor of its time, and this number of epochs."""

_LONG = 30
"""After this many epochs without a result more of them will not help."""

_NAMED = 8


def run_cautions(setup: RunSetup, trainer: Trainer, found: Evaluation, seconds: float, once: float = 0.0) -> list[str]:
    """Return sentences on what a run's result is worth, and the way out.

    Args:
        setup, trainer: the run, finished.
        found: evaluation on the held-out split.
        seconds: duration of the run.
        once: part of it that does not grow with the epochs.
    """
    data = setup.data
    epochs = trainer.counters.step * setup.recipe.accumulate / max(1, len(trainer.loader))
    lines = [*found.cautions(), *first_epoch_words(epochs), *sample_words(data.survey)]
    lines += chosen_by_words(setup.held_out[0])
    baseline = found.baseline()
    unlearned = baseline is not None and baseline.model != "better"
    if unlearned and (found.count >= FEW or epochs < 1):
        lines.append(way_out(setup.recipe, epochs, seconds, once))
    if data.task is not None and data.survey.source.label_kind == "classes" and setup.objective_config.tasks:
        objective = setup.objective_config
        balanced = not isinstance(objective, SupervisedConfig) or objective.balance > 0
        lines += rare_class_words(data.train.samples, data.names, balanced=balanced)
    return lines


def first_epoch_words(epochs: float) -> list[str]:
    """A sentence for a run that ended before it had seen every training image."""
    if epochs > 0.995:
        return []
    return [f"The run ended after {epochs:.2g} epochs: {1 - epochs:.0%} of the training images were never used."]


def chosen_by_words(split: str) -> list[str]:
    """A sentence for a result on the images that the checkpoint was chosen by."""
    if split != "val":
        return []
    return [
        "There are no test images: the result is that on the validation images, by which the best checkpoint was "
        "chosen and its probabilities, thresholds and intervals were fitted, so it is a little too good. Keep images "
        "apart in test/ to measure on others."
    ]


def sample_words(survey: Survey) -> list[str]:
    """A sentence for a run that read only a random sample of its source."""
    if survey.total is None:
        return []
    return [f"{survey.read:,} of {survey.total:,} images of the source were used, drawn at random."]


def way_out(recipe: Recipe, epochs: float, seconds: float, once: float = 0.0) -> str:
    """What to do about a run whose model is no better than a constant answer.

    Args:
        recipe: the run's recipe.
        epochs: passes over the training images.
        seconds: duration of the run.
        once: part of it that does not grow with the epochs: reading the data, the report.
    """
    if recipe.solver == "lbfgs":
        return (
            "The last layer is already fitted, and more epochs change nothing: train more layers (--recipe lora or "
            "finetune), begin with other weights, or give more images."
        )
    if epochs >= _LONG:
        return f"After {epochs:.0f} epochs more time will not help: check the labels, or give more images."
    factor = max(_LONGER, _ENOUGH_EPOCHS / max(epochs, 1e-3))
    if timed(recipe):
        return f"The run was too short: give it more time, --minutes {round_up(factor * chosen(recipe.minutes))}."
    minutes = round_up((once + factor * (seconds - once)) / 60)
    return (
        f"The run was too short: train longer, --epochs {round_up(factor * epochs)}, which takes about "
        f"{minutes} minute{'s' * (minutes != 1)} at this run's speed."
    )


def rare_class_words(samples: tuple[Sample, ...], names: Names, *, balanced: bool = False) -> list[str]:
    """A sentence that names the classes with few training images, and what to do.

    Args:
        samples: the training images.
        names: names of the classes.
        balanced: whether the objective already gives rare classes more weight.
    """
    counts = Counter(label for sample in samples for label in sample.labels)
    rare = [(name, counts[index]) for index, name in enumerate(names) if counts[index] < _RARE]
    if not rare:
        return []
    named = ", ".join(f"{name} ({count})" for name, count in rare[:_NAMED])
    more = f" and {len(rare) - _NAMED} more" if len(rare) > _NAMED else ""
    verb = "has" if len(rare) == 1 else "have"
    weigh = "" if balanced else ", or give all classes the same weight with --set objective.balance=1"
    return [
        f"{named}{more} {verb} fewer than {_RARE} training images and will hardly be recognised: add images{weigh}."
    ]


def round_up(value: float) -> int:
    """Round up to a number that people use: 1, 2, 3, 4, 5, 10, 15, 20, 30, 40, 50, 75, 100, ..."""
    value = max(1.0, value)
    power = 10 ** max(0, math.floor(math.log10(value)) - 1)
    steps = (1, 2, 3, 4, 5, 10, 15, 20, 30, 40, 50, 75, 100)
    return next(step * power for step in steps if step * power >= value - 1e-9)
