"""A whole run: read the data, plan, train, measure, publish."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint.contract import Checkpoint, load, save
from ..data.open import Source
from ..data.survey import write_bad_files
from ..engines.precision import pick_device, pick_precision
from ..errors import VitrailError
from ..machine.allocator import keep_freed_memory
from ..models.fields import ModelConfig
from ..nn import AnyVisionModel
from ..objectives.objective import ObjectiveConfig, Transform
from ..objectives.registry import objective_config
from ..progress import Track, silent
from ..task_spec import TaskSpec
from ..tasks.task import Evaluation
from .folder import DATA, RECIPE, SPLITS, RunFolder, same_splits, splits_table, versions
from .loggers import Logger, make_loggers, require_loggers
from .loop import Diverged, Trainer
from .measure import evaluate_loss, evaluate_outputs, evaluate_trainer, outputs
from .outline import outline
from .publish.results import write_results
from .recipe import Recipe
from .recipe_file import read_recipe, recipe_to_dict, recipe_to_yaml
from .recorder import FolderRecorder, save_state
from .resolve import OwnParts, resolve
from .setup import RunSetup
from .state import latest, restore
from .time_budget import fix_steps
from .training_data import Reading, TrainingData, read_data

Say = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        path: its folder.
        metrics: headline numbers of the held-out split, such as "test_top1".
        seconds: from the start of this call to its end.
    """

    path: Path
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def checkpoint(self) -> Checkpoint:
        """The best checkpoint, loaded."""
        return load(self.path)


@dataclass(frozen=True)
class _Watch:
    """Who follows a run: when it started, where progress, messages and rows of the log go."""

    started: float
    progress: Track
    say: Say
    loggers: Sequence[Logger]


def quiet(message: str) -> None:
    """Print nothing: the default of the Python API."""


def train(
    source: Source | str | Path,
    recipe: Recipe | str | None = None,
    *,
    weights: str | Path | None = None,
    model: AnyVisionModel | ModelConfig | str | None = None,
    objective: ObjectiveConfig | str | None = None,
    transform: Transform | None = None,
    loggers: Sequence[Logger] = (),
    out: str | Path | None = None,
    skip_bad: bool = False,
    progress: Track = silent,
    say: Say = quiet,
) -> Run:
    """Train on labelled images and leave a run folder.

    Args:
        source: class folders, a CSV, tar shards or a named set (see `vitrail.data.open`), or a `Source`.
        recipe: a `Recipe`, the name of one, or a YAML file; open fields are chosen from the data and the machine.
        weights: a checkpoint to start from, as `load` takes it, in place of the recipe's.
        model: a variant's name, a config, or a model with its weights, in place of the recipe's. A config class of
            your own is made known with `register`.
        objective: a name or a config, in place of the recipe's.
        transform: augmentation of your own, image (C, H, W) -> image of the model's size, in place of the recipe's.
        loggers: objects that take the rows of the metric log, besides those that the recipe names.
        out: the run folder; by default runs/SOURCE-N with the next free number.
        skip_bad: leave out files that can't be read, and list them in bad_files.csv, instead of stopping.
        progress, say: where progress and messages go.

    Raises:
        VitrailError: with the way out, before anything is written where the source or the recipe is at fault.
        Stopped: by a signal; the state is saved.
    """
    read = read_recipe(recipe) if isinstance(recipe, str) else recipe or Recipe()
    given: dict[str, Any] = {"weights": None if weights is None else str(weights)}
    given["objective"] = objective_config(objective)() if isinstance(objective, str) else objective
    given["model"] = model if isinstance(model, str) else None
    read = replace(read, **{name: value for name, value in given.items() if value is not None})
    own = OwnParts(None if isinstance(model, str) else model, transform)
    labelled = read.objective is None or bool(read.objective.tasks)
    return _start(source, read, own, labelled, out, skip_bad, _Watch(time.monotonic(), progress, say, loggers))


def pretrain(
    source: Source | str | Path,
    recipe: Recipe | str | None = None,
    *,
    objective: ObjectiveConfig | str = "mae",
    weights: str | Path | None = None,
    model: AnyVisionModel | ModelConfig | str | None = None,
    transform: Transform | None = None,
    loggers: Sequence[Logger] = (),
    out: str | Path | None = None,
    skip_bad: bool = False,
    progress: Track = silent,
    say: Say = quiet,
) -> Run:
    """Train without labels: `pretrain("photos/")`. The arguments are those of `train`; labels are not looked at.

    Args:
        source: images in any layout.
        recipe: by default the one with the objective's name, where there is one.
        objective: one that needs no labels.

    Raises:
        VitrailError: see `train`; or an objective that needs labels.
    """
    from .recipe import RECIPES

    config = objective_config(objective) if isinstance(objective, str) else type(objective)
    if config.tasks:
        raise VitrailError(f"objective {config.name} learns from labels: use `vitrail train`, or --objective mae")
    named = RECIPES.get(config.name, Recipe()) if recipe is None else recipe
    given = named.objective if isinstance(objective, str) and isinstance(named, Recipe) else None
    return train(
        source,
        named,
        weights=weights,
        model=model,
        objective=given if given is not None and given.name == config.name else objective,
        transform=transform,
        loggers=loggers,
        out=out,
        skip_bad=skip_bad,
        progress=progress,
        say=say,
    )


def resume(
    path: str | Path,
    *,
    source: Source | str | Path | None = None,
    transform: Transform | None = None,
    loggers: Sequence[Logger] = (),
    progress: Track = silent,
    say: Say = quiet,
) -> Run:
    """Resume a run that was stopped; the result is the same to the last bit as without the stop.

    Everything but the images is read from the run: what it was fine-tuned from may be gone.

    Args:
        path: the run folder, which may have been moved.
        source: where the data are now, if they were moved; the images are compared by their content.
        transform: the run's own augmentation, where it was trained with one.
        loggers: see `train`.
        progress, say: where progress and messages go.

    Raises:
        VitrailError: no run, no whole state, or data that are not the run's.
    """
    watch = _Watch(time.monotonic(), progress, say, loggers)
    folder = RunFolder(Path(path))
    made = folder.read_json(DATA)
    recipe = read_recipe(str(folder.path))
    for name, value in (("source", source), ("transform", transform)):
        if name in made.get("own", ()) and value is None:
            raise VitrailError(f"{folder.path} was trained with a {name} from Python: resume(run, {name}=...)")
    with torch.random.fork_rng():
        keep_freed_memory()
        torch.set_num_threads(made["threads"])
        data = read_data(source or made["source"], _reading_of(made, recipe), progress=progress)
        if not same_splits(data.split_rows(), (folder.path / SPLITS).read_text(encoding="utf-8")):
            raise VitrailError(
                f"{data.name} is not what {folder.path} was trained on (see {SPLITS}): bring the data back as they "
                "were, name where they are now with --source, or start a new run"
            )
        if source is not None and not isinstance(source, Source):
            folder.write(DATA, _as_json({**made, "source": _absolute(str(source))}))
        return _fit_and_finish(folder, _resumed_setup(folder, recipe, data, transform), watch)


def next_run(source: str | Path, parent: Path = Path("runs")) -> Path:
    """runs/NAME-N, with the first N from 1 that is free."""
    name = Path(str(source).rstrip("/")).name.split(".")[0].split(":")[-1] or "run"
    number = 1
    while (parent / f"{name}-{number}").exists():
        number += 1
    return parent / f"{name}-{number}"


def _start(
    source: Source | str | Path,
    recipe: Recipe,
    own: OwnParts,
    labelled: bool,
    out: str | Path | None,
    skip_bad: bool,
    watch: _Watch,
) -> Run:
    folder = RunFolder(Path(out) if out else next_run(source.name if isinstance(source, Source) else source))
    folder.require_free()
    require_loggers(recipe.loggers)
    reading = Reading(
        labelled=labelled,
        task=TaskSpec.parse(recipe.task) if recipe.task else None,
        val=recipe.val,
        test=recipe.test if labelled else 0.0,
        skip_bad=skip_bad,
    )
    with torch.random.fork_rng():
        keep_freed_memory()
        data = read_data(source, reading, progress=watch.progress)
        for warning in data.warnings:
            watch.say(f"note: {warning}")
        setup = resolve(recipe, data, own)
        folder.path.parent.mkdir(parents=True, exist_ok=True)
        setup, step_seconds = fix_steps(setup, watch.started, folder.path.parent)
        trainer = setup.trainer()
        made = _made(setup, reading, own_source=isinstance(source, Source))
        folder.create(_plan_files(setup, made), lambda place: save_state(place, setup.checkpoint, trainer))
        if data.survey.bad:
            write_bad_files(folder.path / "bad_files.csv", data.survey.bad)
        watch.say(outline(setup, folder.path, step_seconds))
        return _fit_and_finish(folder, setup, watch)


def _made(setup: RunSetup, reading: Reading, *, own_source: bool) -> dict[str, Any]:
    """What data.json holds: how the source was read, and what else a resumed run has to know."""
    data = setup.data
    own = [name for name, is_own in (("source", own_source), ("transform", setup.transform is not None)) if is_own]
    return {
        "source": data.name if own_source else _absolute(data.name),
        "labelled": reading.labelled,
        "skip_bad": reading.skip_bad,
        "task": data.task.spec.to_dict() if data.task else None,
        "read_as": reading.task.to_dict() if reading.task else None,
        "class_names": data.names,
        "threads": torch.get_num_threads(),
        "own": own,
        "versions": versions(),
    }


def _plan_files(setup: RunSetup, made: dict[str, Any]) -> dict[str, str]:
    return {
        RECIPE: recipe_to_yaml(setup.recipe),
        SPLITS: splits_table(setup.data.split_rows()),
        DATA: _as_json(made),
    }


def _as_json(made: dict[str, Any]) -> str:
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


def _absolute(name: str) -> str:
    return str(Path(name).resolve()) if Path(name).exists() else name


def _reading_of(made: dict[str, Any], recipe: Recipe) -> Reading:
    labelled = made.get("labelled", True)
    read_as = made.get("read_as")
    return Reading(
        labelled=labelled,
        task=TaskSpec.from_dict(read_as) if read_as else None,
        val=recipe.val,
        test=recipe.test if labelled else 0.0,
        skip_bad=made["skip_bad"],
    )


def _resumed_setup(folder: RunFolder, recipe: Recipe, data: TrainingData, transform: Transform | None) -> RunSetup:
    state = latest(folder.checkpoints)
    if state is None:  # a run of an earlier version that was killed before it saved anything
        return replace(resolve(recipe, data, OwnParts(transform=transform)), recipe=recipe)
    device = pick_device(recipe.device)
    return RunSetup(recipe, data, load(state), device, pick_precision(recipe.precision, device), transform)


def _fit_and_finish(folder: RunFolder, setup: RunSetup, watch: _Watch) -> Run:
    trainer = setup.trainer()
    state = latest(folder.checkpoints)
    if state is not None:
        trainer.counters = restore(state, trainer.objective, trainer.optimizers, trainer.ema, trainer.scaler)
        if trainer.counters.step:
            watch.say(f"resuming from step {trainer.counters.step} of {setup.recipe.steps}")
    loggers = [*make_loggers(setup.recipe.loggers, folder.path, recipe_to_dict(setup.recipe)), *watch.loggers]
    recorder = FolderRecorder(folder, setup.checkpoint, loggers, watch.say)
    try:
        trainer.fit(lambda measured: evaluate_trainer(setup, measured), recorder, progress=watch.progress)
    except Diverged as error:
        good = latest(folder.checkpoints)
        raise Diverged(f"{error}. Last good state: {good or 'none was saved yet'}") from error
    finally:
        recorder.close()
    found, output = _measure(folder, setup, trainer)
    split, _ = setup.data.held_out
    metrics = {f"{split}_{key}": value for key, value in found.headline().items()}
    seconds = time.monotonic() - watch.started
    write_results(folder, setup, trainer, found, output, seconds)
    return Run(folder.path, metrics, seconds)


def _measure(folder: RunFolder, setup: RunSetup, trainer: Trainer) -> tuple[Evaluation, Tensor | None]:
    """Measure the best checkpoint on the held-out split and write the numbers into it."""
    best = load(folder.checkpoints / "best")
    split, _ = setup.data.held_out
    output = None
    if setup.by_task:
        output = outputs(setup, best.model, split)
        found = evaluate_outputs(setup, split, output)
    else:
        if trainer.objective.trained() is trainer.model:
            trainer.ema = None
            trainer.model.load_state_dict(best.model.state_dict())
        found = evaluate_loss(setup, trainer, split)
    measured = {f"{split}_{key}": value for key, value in found.headline().items()}
    best.info["metrics"] = {**best.info["metrics"], **measured}
    save(best, folder.checkpoints / "best")
    folder.write("evaluation.json", json.dumps({"split": split, **found.to_dict()}, ensure_ascii=False) + "\n")
    return found, output
