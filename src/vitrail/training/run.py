"""Training runs: `train`, `pretrain` and `resume`."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ..checkpoint.contract import Checkpoint, load
from ..data.bad_files import write_bad_files
from ..data.open import SourceLike, source_name
from ..data.survey import write_conflicts
from ..engines.precision import pick_device, pick_precision
from ..errors import VitrailError
from ..machine.allocator import keep_freed_memory
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel
from ..objectives.augmentation import Transform
from ..objectives.objective import ObjectiveConfig
from ..objectives.registry import objective_config
from ..progress import Say, Track, discard_message, silent
from .advice import bad_files_listed, memory_advice, no_empty_folder, reading_advice
from .finish import Audience, fit_and_finish
from .folder import DATA, METRICS, RECIPE, SPLITS, RunFolder, same_splits, splits_table
from .knn_source import read_knn, with_knn_source
from .loggers import Logger, require_loggers
from .new_folder import create_folder, next_run
from .outline import outline
from .pitfalls import pitfalls
from .reading import reading_of, uses_labels
from .recipe import Recipe, chosen
from .recipe_file import pretraining_recipe, read_recipe, recipe_to_yaml
from .recorder import save_state
from .resolve import OwnParts, bound_to, for_objective, in_units_of, named_as, resolve
from .run_facts import RunFacts, absolute, with_absolute_paths
from .setup import RunSetup
from .state import latest
from .time_budget import first_plan, fix_steps
from .training_data import TrainingData, read_data


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        path: the run folder.
        metrics: main metrics of the held-out split, such as "test_top1".
        seconds: duration of this call, or from the `started` that was given.
    """

    path: Path
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def checkpoint(self) -> Checkpoint:
        """Load the best checkpoint."""
        return load(self.path)


def train(
    source: SourceLike,
    recipe: Recipe | str | None = None,
    *,
    task: str | None = None,
    weights: str | Path | None = None,
    model: BaseVisionModel[ModelConfig] | ModelConfig | str | None = None,
    objective: ObjectiveConfig | str | None = None,
    transform: Transform | None = None,
    loggers: Sequence[Logger] = (),
    out: str | Path | None = None,
    skip_bad: bool = False,
    progress: Track = silent,
    say: Say = discard_message,
    started: float | None = None,
) -> Run:
    """Train on labelled images and write a run folder.

    Args:
        source: class folders, a CSV, tar shards or a named set (see `vitrail.data.open`), a `Source`, or a torch
        Dataset with items (image, label), see `source_from_dataset`.
        recipe: a `Recipe`, its name, or a YAML file; open fields are chosen from the data and the machine.
        task: what the labels are for, such as "segmentation", in place of the recipe's; None: inferred from them.
        weights: a checkpoint to start from, as for `load`, instead of the recipe's.
        model: a variant's name, a config, or a model with its weights, in place of the recipe's. For a config class
        of your own, see `register`.
        objective: a name or a config, in place of the recipe's.
        transform: augmentation function, image (C, H, W) -> image of the model's size, in place of the recipe's.
        loggers: objects that receive the rows of the metric log, besides those that the recipe names.
        out: run folder to create; by default runs/SOURCE-N with the next free number.
        skip_bad: leave out files that can't be read, and list them in bad_files.csv, instead of raising an error.
        progress, say: where progress and messages go.
        started: value of `time.monotonic()` from which the recipe's minutes count; None: this call.

    Raises:
        VitrailError: the source or the recipe is invalid (no run is written then), or training fails.
        Stopped: by a signal; the state is saved.
    """
    read = read_recipe(recipe) if isinstance(recipe, str) else recipe or Recipe()
    given: dict[str, Any] = {"task": task, "weights": None if weights is None else str(weights)}
    given["objective"] = objective_config(objective)() if isinstance(objective, str) else objective
    given["model"] = model if isinstance(model, str) else None
    read = replace(read, **{name: value for name, value in given.items() if value is not None})
    own = OwnParts(None if isinstance(model, str) else model, transform)
    audience = Audience(_start_of(started), progress, say, loggers)
    return _start(source, read, own, uses_labels(read), out, skip_bad, audience)


def pretrain(
    source: SourceLike,
    recipe: Recipe | str | None = None,
    *,
    objective: ObjectiveConfig | str | None = None,
    weights: str | Path | None = None,
    model: BaseVisionModel[ModelConfig] | ModelConfig | str | None = None,
    transform: Transform | None = None,
    loggers: Sequence[Logger] = (),
    out: str | Path | None = None,
    skip_bad: bool = False,
    progress: Track = silent,
    say: Say = discard_message,
    started: float | None = None,
) -> Run:
    """Train without labels: `pretrain("photos/")`. The arguments are those of `train`; labels are ignored.

    Args:
        source: images in any layout, or a torch Dataset, whose items may be images alone.
        recipe: by default the one with the objective's name, if there is one.
        objective: one that needs no labels; by default that of the recipe, or "mae".

    Raises:
        VitrailError: see `train`; or the objective needs labels.
    """
    own = objective if isinstance(objective, ObjectiveConfig) else None
    name = objective.name if isinstance(objective, ObjectiveConfig) else objective
    return train(
        source,
        pretraining_recipe(name, recipe),
        objective=own,
        weights=weights,
        model=model,
        transform=transform,
        loggers=loggers,
        out=out,
        skip_bad=skip_bad,
        progress=progress,
        say=say,
        started=started,
    )


def resume(
    path: str | Path,
    *,
    source: SourceLike | None = None,
    transform: Transform | None = None,
    loggers: Sequence[Logger] = (),
    progress: Track = silent,
    say: Say = discard_message,
    started: float | None = None,
) -> Run:
    """Resume a stopped run; the result is bit-identical to that of a run without the stop.

    Everything but the images and a teacher is read from the run folder; the checkpoint that it was fine-tuned from is
    not needed.

    Args:
        path: the run folder; it may have been moved.
        source: new path of the data, if they were moved; the images are compared by content.
        transform: the augmentation function that the run was started with, if any.
        loggers: see `train`.
        progress, say, started: see `train`.

    Raises:
        VitrailError: not a run, no complete state, or other data than the run's.
    """
    audience = Audience(_start_of(started), progress, say, loggers)
    folder = RunFolder(Path(path))
    folder.require_unchanged()
    facts = RunFacts.from_json(folder.read_json(DATA))
    facts.require(folder.path, {"source": source, "transform": transform})
    recipe = read_recipe(str(folder.path))
    with folder.lock, torch.random.fork_rng():
        keep_freed_memory()
        torch.set_num_threads(facts.threads)
        data = read_data(facts.source if source is None else source, facts.reading(recipe), progress=progress)
        if not same_splits(data.split_rows(), folder.path / SPLITS):
            raise VitrailError(
                f"{data.name} is not what {folder.path} was trained on (see {SPLITS}): restore the data, give their "
                "new place with --source, or start a new run"
            )
        if source is not None:
            folder.write(DATA, replace(facts, source=absolute(data.name)).to_json())
        setup = _resumed_setup(folder, recipe, data, transform)
        setup = replace(setup, knn=read_knn(setup, skip_bad=facts.skip_bad, progress=progress))
        if setup.knn is not None:
            setup.knn.require(facts.knn)
        return _finished(folder, setup, audience)


def _start_of(started: float | None) -> float:
    return time.monotonic() if started is None else started


def _start(
    source: SourceLike,
    recipe: Recipe,
    own: OwnParts,
    labelled: bool,
    out: str | Path | None,
    skip_bad: bool,
    audience: Audience,
) -> Run:
    folder = RunFolder(Path(out) if out else next_run(source_name(source)))
    folder.require_free()
    require_loggers(recipe.loggers)
    _require_runs(recipe.beside)
    recipe = with_absolute_paths(with_knn_source(recipe, labelled=labelled))
    reading = reading_of(recipe, labelled=labelled, skip_bad=skip_bad)
    with torch.random.fork_rng():
        keep_freed_memory()
        with bad_files_listed(folder.path):
            data = read_data(source, reading, progress=audience.progress)
        for warning in data.warnings:
            audience.say(f"note: {warning}")
        with memory_advice(recipe), no_empty_folder(folder.path.parent):
            setup = fix_steps(resolve(recipe, data, own))
            setup = replace(setup, knn=read_knn(setup, skip_bad=skip_bad, progress=audience.progress))
            folder.path.parent.mkdir(parents=True, exist_ok=True)
            facts = RunFacts.of(setup, reading, own_source=not isinstance(source, str | os.PathLike))
            trainer = setup.trainer(first_plan(setup))
            trainer.objective.prepare(setup.images())
            files, save = _plan_files(setup, facts), lambda place: save_state(place, setup.checkpoint, trainer)
            folder = create_folder(folder, files, save, given=bool(out))
        with folder.lock:
            if data.survey.bad:
                write_bad_files(folder.path / "bad_files.csv", data.survey.bad)
            if data.survey.conflicts:
                write_conflicts(folder.path / "conflicts.csv", data.survey)
            audience.say(outline(setup, folder.path))
            for sentence in pitfalls(setup):
                audience.say(f"note: {sentence}")
            return _finished(folder, setup, audience)


def _require_runs(places: Sequence[str]) -> None:
    """Raise VitrailError unless all places are runs, whose curves the report can draw."""
    for place in places:
        if not (Path(place) / METRICS).is_file():
            raise VitrailError(f"{place} is no run with a {METRICS}: give one, or leave beside out")


def _finished(folder: RunFolder, setup: RunSetup, audience: Audience) -> Run:
    with memory_advice(setup.recipe), reading_advice(folder.path):
        metrics = fit_and_finish(folder, setup, audience)
    return Run(folder.path, metrics, time.monotonic() - audience.started)


def _plan_files(setup: RunSetup, facts: RunFacts) -> dict[str, str]:
    return {
        RECIPE: recipe_to_yaml(setup.recipe),
        SPLITS: splits_table(setup.data.split_rows()),
        DATA: facts.to_json(),
    }


def _resumed_setup(folder: RunFolder, recipe: Recipe, data: TrainingData, transform: Transform | None) -> RunSetup:
    state = latest(folder.checkpoints)
    if state is None:  # a run of an earlier version that was killed before its first save
        return replace(resolve(recipe, data, OwnParts(transform=transform)), recipe=recipe)
    device, checkpoint = pick_device(recipe.device), load(state)
    data = for_objective(named_as(checkpoint, data), chosen(recipe.objective))
    data = bound_to(checkpoint, in_units_of(checkpoint.class_names, checkpoint.task, data))
    return RunSetup(recipe, data, checkpoint, device, pick_precision(recipe.precision, device), transform)
