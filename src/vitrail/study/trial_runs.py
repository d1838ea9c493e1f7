"""Runs a list of trainings in one folder, and goes on where it was stopped."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.open import Source
from ..errors import VitrailError
from ..json_text import json_text
from ..plain import Unreadable, read_json
from ..progress import Say, Track, discard_message, silent
from ..tables import check_folder, write_text
from ..training.folder import EVALUATION, RunFolder
from ..training.recipe import Recipe
from ..training.recipe_file import recipe_to_dict
from ..training.run import resume, train
from ..training.state import COUNTERS, latest
from ..training.stop import Stopped

RUNS, TRIALS, COST = "runs", "trials.json", "cost.json"
_LAST_FILE = "README.md"
"""The file that a finished run writes last."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One training of a list.

    Attributes:
        name: name of its run folder.
        recipe: its recipe.
        source: its images: what `train` takes by name, or a `Source`.
    """

    name: str
    recipe: Recipe
    source: str | Source


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a trial.

    Attributes:
        trial: the trial.
        path: its run folder.
        quality: best quality on the validation split; higher is better. None if it failed or was not run.
        metrics: evaluation.json of the run; empty if it failed or was not run.
        seconds: duration of the run, all tries together.
        error: why there is no result; empty if there is one.
    """

    trial: Trial
    path: Path
    quality: float | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""


def run_trials(
    trials: Sequence[Trial],
    folder: Path,
    *,
    minutes: float | None = None,
    skip_bad: bool = False,
    progress: Track = silent,
    say: Say = discard_message,
) -> list[Outcome]:
    """Train all trials in folder/runs, in order; finished ones are read, and one that was stopped is resumed.

    Args:
        trials: names must differ.
        folder: where to write; it may have runs of the same trials.
        minutes: no trial begins when all runs together took longer; None: no limit.
        skip_bad: see `train`.
        progress, say: see `train`.

    Raises:
        VitrailError: the folder has runs of other trials, or other files.
        Stopped: by a signal; the state is saved, and the same call goes on.
    """
    _claim(trials, folder)
    outcomes: list[Outcome] = []
    for number, trial in enumerate(trials, 1):
        path = folder / RUNS / trial.name
        spent = sum(outcome.seconds for outcome in outcomes)
        if minutes is not None and spent > 60 * minutes and not path.exists():
            outcomes.append(Outcome(trial, path, error="not run: the time was used up"))
            continue
        say(f"run {number} of {len(trials)}: {trial.name}")
        try:
            outcomes.append(_run(trial, path, skip_bad, progress, say))
        except Stopped:
            where = f"run {number} of {len(trials)}, {trial.name}"
            raise Stopped(f"stopped in {where}; its state is saved; to continue, repeat the command") from None
    return outcomes


def check_own(folder: Path) -> None:
    """Raise VitrailError if a folder has other files than those of a list of trainings, such as a source's images."""
    check_folder(folder)
    if claimed(folder) or not folder.is_dir():
        return
    if other := sorted(path.name for path in folder.iterdir() if path.name != COST):
        raise VitrailError(f"{folder} has other files, such as {other[0]}: use a new folder")


def claimed(folder: Path) -> bool:
    """Whether a folder has a list of trainings."""
    return (folder / TRIALS).is_file()


def finished(path: Path) -> bool:
    """Whether a run folder has all its results."""
    return (path / _LAST_FILE).is_file()


def outcome_of(trial: Trial, path: Path) -> Outcome:
    """Read the result of a finished run."""
    folder = RunFolder(path)
    state = latest(folder.checkpoints)
    if state is None:
        raise VitrailError(f"{path} has lost its states: remove it to train it again")
    return Outcome(
        trial,
        path,
        quality=read_json(state / COUNTERS)["counters"]["best"],
        metrics=folder.read_json(EVALUATION),
        seconds=folder.seconds(),
    )


def accuracy_of(metrics: Mapping[str, Any], run: str) -> float:
    """Accuracy, or mean average precision, in the evaluation.json of a run.

    Raises:
        VitrailError: it has neither; the message names the run.
    """
    found = metrics.get("top1", metrics.get("mean_average_precision"))
    if not isinstance(found, float | int):
        raise VitrailError(f"{run} has no accuracy: give runs with classes")
    return float(found)


def _run(trial: Trial, path: Path, skip_bad: bool, progress: Track, say: Say) -> Outcome:
    if finished(path):
        return outcome_of(trial, path)
    started = time.monotonic()
    try:
        if path.exists():
            own = trial.source if isinstance(trial.source, Source) else None
            resume(path, source=own, progress=progress, say=say)
        else:
            train(trial.source, trial.recipe, out=path, skip_bad=skip_bad, progress=progress, say=say)
    except VitrailError as error:
        say(f"{trial.name} failed: {error}")
        return Outcome(trial, path, seconds=time.monotonic() - started, error=str(error))
    return outcome_of(trial, path)


def _claim(trials: Sequence[Trial], folder: Path) -> None:
    """Write down the trials of a new folder; those of an older one must be the same."""
    digests = {trial.name: _digest(trial) for trial in trials}
    file = folder / TRIALS
    if file.is_file():
        try:
            known = read_json(file)
        except Unreadable as fault:
            raise VitrailError(f"{file} is damaged: {fault}; use another folder") from None
        if known != digests:
            raise VitrailError(
                f"{folder} has runs with other settings or other images: repeat its command to go on, or use another "
                "folder"
            )
        return
    check_own(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(file, json_text(digests, indent=2) + "\n")
    (folder / RUNS).mkdir(exist_ok=True)


def _digest(trial: Trial) -> str:
    """Digest of what a trial depends on: recipe, and names, labels and splits of its images."""
    if isinstance(trial.source, Source):
        images: Any = [(sample.name, str(sample.labels), sample.split) for sample in trial.source.samples]
    else:
        images = trial.source
    text = json.dumps([recipe_to_dict(trial.recipe), images], sort_keys=True, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
