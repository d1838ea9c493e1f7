"""A whole run: look at the data, plan, train, measure, report."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..checkpoint.contract import Checkpoint, load, save
from ..data.survey import write_bad_files
from ..errors import VitrailError
from ..evaluation.metrics import Evaluation, score
from ..machine.allocator import keep_freed_memory
from ..progress import Track, silent
from .assemble import Workshop, assemble, headline
from .board import require_tensorboard
from .budget import fix_steps
from .dataset import read_dataset
from .folder import DATA, RECIPE, SPLITS, RunFolder, splits_table, versions
from .keep import FolderKeeper
from .outline import outline
from .recipe import Recipe
from .recipe_file import read_recipe, recipe_to_yaml
from .results import write_results
from .state import latest, restore
from .trainer import Diverged

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


def quiet(message: str) -> None:
    """Say nothing: the default of the Python API."""


def train(
    source: str | Path,
    recipe: Recipe | str | None = None,
    *,
    out: str | Path | None = None,
    skip_bad: bool = False,
    progress: Track = silent,
    say: Say = quiet,
) -> Run:
    """Train on labelled pictures and leave a run folder.

    Args:
        source: class folders, a CSV, tar shards or a named set; see `vitrail.data.open`.
        recipe: a `Recipe`, the name of one, or a YAML file; open fields are chosen from the data and the machine.
        out: the run folder; by default runs/SOURCE-N with the next free number.
        skip_bad: leave out files that can't be read, and list them in bad_files.csv, instead of stopping.
        progress, say: where progress and messages go.

    Raises:
        VitrailError: with the way out, before anything is written where the source or the recipe is at fault.
        Stopped: by a signal; the state is saved.
    """
    started = time.monotonic()
    recipe = read_recipe(recipe) if isinstance(recipe, str) else recipe or Recipe()
    folder = RunFolder(Path(out) if out else next_run(source))
    folder.require_free()
    with torch.random.fork_rng():
        keep_freed_memory()
        data = read_dataset(source, val=recipe.val, test=recipe.test, skip_bad=skip_bad, progress=progress)
        for warning in data.warnings:
            say(f"note: {warning}")
        workshop = assemble(recipe, data)
        if recipe.tensorboard:
            require_tensorboard()
        folder.path.parent.mkdir(parents=True, exist_ok=True)
        step_seconds = fix_steps(workshop, started, folder.path.parent)
        folder.create(_plan_files(workshop, skip_bad))
        if data.survey.bad:
            write_bad_files(folder.path / "bad_files.csv", data.survey.bad)
        say(outline(workshop, folder.path, step_seconds))
        return _fit_and_finish(folder, workshop, started, progress, say)


def resume(path: str | Path, *, progress: Track = silent, say: Say = quiet) -> Run:
    """Go on with a run that was stopped; the result is the same to the last bit as without the stop.

    Raises:
        VitrailError: no run, no whole state, or data that has changed since.
    """
    started = time.monotonic()
    folder = RunFolder(Path(path))
    made = folder.read_json(DATA)
    recipe = read_recipe(str(folder.path))
    with torch.random.fork_rng():
        keep_freed_memory()
        torch.set_num_threads(made["threads"])
        data = read_dataset(
            made["source"], val=recipe.val, test=recipe.test, skip_bad=made["skip_bad"], progress=progress
        )
        if splits_table(data.split_rows()) != (folder.path / SPLITS).read_text(encoding="utf-8"):
            raise VitrailError(
                f"{made['source']} is not what {folder.path} was trained on (see {SPLITS}): "
                "bring the data back as it was, or start a new run"
            )
        workshop = assemble(recipe, data)
        workshop.recipe = recipe
        return _fit_and_finish(folder, workshop, started, progress, say)


def next_run(source: str | Path, parent: Path = Path("runs")) -> Path:
    """runs/NAME-N, with the first N from 1 that is free."""
    name = Path(str(source).rstrip("/")).name.split(".")[0].split(":")[-1] or "run"
    number = 1
    while (parent / f"{name}-{number}").exists():
        number += 1
    return parent / f"{name}-{number}"


def _plan_files(workshop: Workshop, skip_bad: bool) -> dict[str, str]:
    data = workshop.data
    made = {
        "source": str(Path(data.name).resolve()) if Path(data.name).exists() else data.name,
        "skip_bad": skip_bad,
        "task": data.task,
        "class_names": data.class_names,
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    return {
        RECIPE: recipe_to_yaml(workshop.recipe),
        SPLITS: splits_table(data.split_rows()),
        DATA: json.dumps(made, indent=2, ensure_ascii=False) + "\n",
    }


def _fit_and_finish(folder: RunFolder, workshop: Workshop, started: float, progress: Track, say: Say) -> Run:
    trainer = workshop.trainer(workshop.recipe)
    state = latest(folder.checkpoints)
    if state is not None:
        trainer.counters = restore(state, trainer.model, trainer.optimizers, trainer.ema, trainer.scaler)
        say(f"going on from step {trainer.counters.step} of {workshop.recipe.steps}")
    keeper = FolderKeeper(folder, workshop.checkpoint, workshop.recipe.tensorboard, say)
    try:
        trainer.fit(workshop.evaluate, keeper, progress=progress)
    except Diverged as error:
        good = latest(folder.checkpoints)
        raise Diverged(f"{error}. Last good state: {good or 'none was saved yet'}") from error
    result, logits = _measure(folder, workshop)
    split, _ = workshop.data.held_out
    metrics = {f"{split}_{key}": value for key, value in headline(result).items()}
    seconds = time.monotonic() - started
    write_results(folder, workshop, result, logits, seconds)
    return Run(folder.path, metrics, seconds)


def _measure(folder: RunFolder, workshop: Workshop) -> tuple[Evaluation, Tensor]:
    """Measure the best checkpoint on the held-out split and write the numbers into it."""
    best = load(folder.checkpoints / "best")
    model = best.model.to(workshop.device).to(memory_format=torch.channels_last)
    name, part = workshop.data.held_out
    logits = workshop.logits(model, name, part)
    result = score(logits, part.labels, workshop.data.class_names, workshop.data.task)
    measured = {f"{name}_{key}": value for key, value in headline(result).items()}
    best.info["metrics"] = {**best.info["metrics"], **measured}
    save(best, folder.checkpoints / "best")
    folder.write("evaluation.json", json.dumps({"split": name, **result.to_dict()}, ensure_ascii=False) + "\n")
    return result, logits
