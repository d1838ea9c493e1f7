"""Data efficiency: accuracy of several models of equal training cost against the number of training images."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..data.open import BadFile, Sample, Source, SourceLike
from ..data.seeds import derive, permutation
from ..errors import VitrailError
from ..json_text import json_text
from ..models.fields import pair
from ..models.registry import model_config, override
from ..plain import read_json
from ..planning.flops import TRAINING_STEP
from ..planning.speed import measure
from ..progress import Say, Track, discard_message, silent
from ..tables import write_text
from ..tasks.classification import Classification
from ..tasks.worth import images as images_words
from ..training.choose import Situation, choose
from ..training.recipe import Recipe, chosen, with_changes
from ..training.recipe_file import set_fields
from ..training.training_data import Reading, SplitData, TrainingData, read_data
from .contestants import START, Contestant, contestant, default_models, labelled
from .trial_runs import COST, Outcome, Trial, accuracy_of, check_own, run_trials

_TRAINING_SHARE = 0.6
"""Share of a time budget that is spent in training steps; the rest is reading, evaluation and reports."""
_EVALUATIONS = 8
_OWN_FIELDS = (
    *("model", "overrides", "weights", "task", "seed", "val", "test"),
    *("epochs", "minutes", "steps", "accumulate", "start_size", "evaluate_every"),
)
"""Fields of the recipe that the study sets, or that would change the FLOPs of a run."""


@dataclass(frozen=True, slots=True)
class EfficiencyOptions:
    """Options of the study.

    Attributes:
        models: "VARIANT" or "VARIANT:field=value:…"; empty: a ViT, a hybrid and a ResNet-18 for the images. Data
            factors and crossings are those of the first model, compared with each of the others.
        fractions: fractions of the training images.
        seeds: number of seeds; a seed is that of the weights, the augmentation and the choice of images.
        epochs: epochs of the first model on all training images; all runs have the FLOPs of this one.
        minutes: time for all runs together, in place of `epochs`.
        image_size, batch_size, device, precision: fields of the recipe; None: as `train` chooses them.
        settings: other fields of the recipe, see `set_fields`.
        seed: the first seed.
        skip_bad, strict: see `evaluate`.
    """

    models: tuple[str, ...] = ()
    fractions: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 1.0)
    seeds: int = 3
    epochs: float | None = None
    minutes: float | None = None
    image_size: int | None = None
    batch_size: int | None = None
    device: str | None = None
    precision: str | None = None
    settings: tuple[str, ...] = ()
    seed: int = 0
    skip_bad: bool = False
    strict: bool = True


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Results of the study.

    Attributes:
        source: the images.
        contestants: the models, the first one compared with the others.
        curves: label -> {number of training images: accuracy of each seed on the held-out part}.
        flops: FLOPs of each training run.
        measured_on: number of held-out images.
        outcomes: all runs.
        notes: what was matched, and what is missing.
        seed: the first seed.
        bad: files that were left out.
    """

    source: str
    contestants: tuple[Contestant, ...]
    curves: Mapping[str, Mapping[int, Sequence[float]]]
    flops: float
    measured_on: int
    outcomes: tuple[Outcome, ...]
    notes: tuple[str, ...]
    seed: int = 0
    bad: tuple[BadFile, ...] = ()


def study_efficiency(
    source: SourceLike,
    out: Path,
    options: EfficiencyOptions | None = None,
    *,
    progress: Track = silent,
    say: Say = discard_message,
) -> Efficiency:
    """Train every model on every fraction with every seed, with the same FLOPs, and collect the accuracies.

    The fractions of a seed are nested, and each class contributes its part. The validation and test parts are those
    that `vitrail train` makes of all images, and the same for all runs.

    Args:
        source: labelled images, what `open_source` takes.
        out: folder for the runs; a study that was stopped goes on in it.
        options: see `EfficiencyOptions`.
        progress, say: see `train`.

    Raises:
        VitrailError: the labels are no classes, an unknown model, or a folder of another study.
    """
    options = options or EfficiencyOptions()
    _check(options)
    check_own(out)
    data = read_data(source, Reading(skip_bad=options.skip_bad, strict=options.strict), progress=progress)
    if not isinstance(data.task, Classification):
        raise VitrailError(f"{data.name} has no classes: the study of data efficiency needs them")
    base, size = _base(data, options)
    models = labelled([contestant(text, data, size) for text in options.models or default_models(data, size)])
    flops = _flops(models, data, size, base, options, out)
    planned = _planned(models, data, base, flops, options)
    trials = [each.trial for each in planned]
    outcomes = run_trials(trials, out, skip_bad=options.skip_bad, progress=progress, say=say)
    return replace(_collected(data, models, flops, planned, outcomes), seed=options.seed, bad=data.survey.bad)


def nested_subset(samples: Sequence[Sample], fraction: float, seed: int) -> list[Sample]:
    """A fraction of each class, at least one image; smaller fractions of a seed are parts of larger ones."""
    by_class = defaultdict(list)
    for sample in samples:
        by_class[sample.labels[:1]].append(sample)
    kept = []
    for labels, members in by_class.items():
        order = permutation(len(members), derive(seed, "data efficiency", *labels))
        kept += [members[place] for place in order[: max(1, round(fraction * len(members)))]]
    return kept


def _check(options: EfficiencyOptions) -> None:
    if options.seeds < 1:
        raise VitrailError(f"seeds {options.seeds} is not possible: use 1 or more; 3 give intervals")
    if not options.fractions or not all(0 < fraction <= 1 for fraction in options.fractions):
        raise VitrailError(f"fractions {options.fractions} are not possible: use numbers above 0 and up to 1")
    if options.epochs is not None and options.minutes is not None:
        raise VitrailError("give epochs or minutes, not both: each sets the length of the runs")
    for name, length in (("epochs", options.epochs), ("minutes", options.minutes)):
        if length is not None and not 0 < length <= 1e9:
            raise VitrailError(f"{name} {length:g} is not possible: use a number above 0 and up to 10^9")
    for setting in options.settings:
        if (name := re.split(r"[.=]", setting)[0].strip()) in _OWN_FIELDS:
            raise VitrailError(
                f"--set {setting} is not possible: the study sets {name} of each run, so that models are compared at "
                "equal cost; use --models, --fractions, --seeds, --seed, and --epochs or --minutes"
            )


def _base(data: TrainingData, options: EfficiencyOptions) -> tuple[Recipe, int]:
    """The recipe that all runs share, and the image size."""
    options_given = with_changes(
        START,
        image_size=options.image_size,
        batch_size=options.batch_size,
        device=options.device,
        precision=options.precision,
    )
    given = set_fields(options_given, options.settings)
    situation = Situation(train=len(data.train), side=data.side, channels=data.channels, gpu=False)
    whole = choose(given, situation)
    assert whole.image_size is not None, "choose fills it"
    side = pair(whole.image_size)[0]
    batch = min(chosen(whole.batch_size), 64) if given.batch_size is None else given.batch_size
    return replace(whole, model=None, image_size=side, batch_size=batch, epochs=None, evaluate_every=None), side


def _flops(
    models: Sequence[Contestant], data: TrainingData, size: int, base: Recipe, options: EfficiencyOptions, out: Path
) -> float:
    """FLOPs of each run; those that follow from a time budget are measured once, and then read from the folder."""
    first = models[0].cost.flops * TRAINING_STEP
    if options.minutes is None:
        return first * len(data.train) * (20.0 if options.epochs is None else options.epochs)
    file = out / COST
    if file.is_file():
        return float(read_json(file)["flops"])
    runs = len(options.fractions) * options.seeds
    seconds_for_flop = 0.0
    for model in models:
        fixed = {"image_size": size, "num_classes": len(data.names), "in_channels": data.channels}
        config = override(model_config(model.model), {**model.overrides, **fixed}, model.model)
        seconds = measure(config, chosen(base.batch_size), device=base.device, precision=base.precision).training
        seconds_for_flop += seconds / (TRAINING_STEP * model.cost.flops)
    found = 60 * options.minutes * _TRAINING_SHARE / (runs * seconds_for_flop)
    out.mkdir(parents=True, exist_ok=True)
    write_text(file, json_text({"flops": found}) + "\n")
    return found


@dataclass(frozen=True, slots=True)
class _Planned:
    """A trial with the label of its model and its number of training images."""

    trial: Trial
    label: str
    images: int


def _planned(
    models: Sequence[Contestant], data: TrainingData, base: Recipe, flops: float, options: EfficiencyOptions
) -> list[_Planned]:
    """The trials; small fractions come first."""
    planned: list[_Planned] = []
    known: set[tuple[int, int]] = set()
    for fraction in sorted(options.fractions):
        for seed in range(options.seed, options.seed + options.seeds):
            subset = nested_subset(data.train.samples, fraction, seed)
            images = len(subset)
            if (images, seed) in known:
                continue  # of few images, two fractions may be the same number
            known.add((images, seed))
            source = _source(data, subset)
            for number, model in enumerate(models, 1):
                recipe = _recipe(base, model, images, seed, flops)
                trial = Trial(f"{images:06}-model{number}-seed{seed}", recipe, source)
                planned.append(_Planned(trial, model.label, images))
    return planned


def _recipe(base: Recipe, model: Contestant, images: int, seed: int, flops: float) -> Recipe:
    """The recipe of a run with this number of training images and these FLOPs."""
    batch = min(chosen(base.batch_size), images)
    steps = max(1, round(flops / (TRAINING_STEP * model.cost.flops * batch)))
    return replace(
        base,
        model=model.model,
        overrides=model.overrides,
        batch_size=batch,
        steps=steps,
        seed=seed,
        evaluate_every=max(1.0, steps * batch / images / _EVALUATIONS),
    )


def _source(data: TrainingData, subset: Sequence[Sample]) -> Source:
    """The training images of a run with the validation and test parts of the study."""
    samples = [replace(sample, split="train") for sample in subset]
    held: tuple[tuple[Any, SplitData], ...] = (("val", data.val), ("test", data.test))
    for name, part in held:
        samples += [replace(sample, split=name) for sample in part.samples]
    return replace(data.survey.source, samples=tuple(samples), notes=())


def _collected(
    data: TrainingData,
    models: Sequence[Contestant],
    flops: float,
    planned: Sequence[_Planned],
    outcomes: Sequence[Outcome],
) -> Efficiency:
    curves: dict[str, dict[int, list[float]]] = {model.label: defaultdict(list) for model in models}
    for each, outcome in zip(planned, outcomes, strict=True):
        if outcome.metrics:
            curves[each.label][each.images].append(accuracy_of(outcome.metrics, outcome.trial.name))
    failed = sum(bool(outcome.error) for outcome in outcomes)
    name, part = data.held_out
    notes = [
        f"matched: {flops:.3g} FLOPs of training for every run ({TRAINING_STEP} × forward, batches and steps rounded), "
        "the recipe, and the images of each seed; the models differ in parameters, FLOPs an image, and so in epochs",
        f"accuracy on the {name} part, {images_words(len(part))}, with the best weights by a validation part of "
        f"{images_words(len(data.val))}, which is not counted as training images",
        *([f"{failed} of {len(outcomes)} runs failed: {_first_error(outcomes)}"] if failed else []),
    ]
    kept = {label: dict(curve) for label, curve in curves.items() if curve}
    if not kept:
        raise VitrailError(f"no run of the study has a result: {_first_error(outcomes)}")
    return Efficiency(data.name, tuple(models), kept, flops, len(part), tuple(outcomes), tuple(notes))


def _first_error(outcomes: Sequence[Outcome]) -> str:
    return next((outcome.error for outcome in outcomes if outcome.error), "")
