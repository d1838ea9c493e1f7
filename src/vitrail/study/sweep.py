"""Grid search over fields of a recipe and of the model."""

import itertools
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..data.open import open_source
from ..errors import VitrailError
from ..progress import Say, Track, discard_message, silent
from ..training.reading import reading_of, uses_labels
from ..training.recipe import Recipe
from ..training.recipe_checks import UNUSED_BY_LBFGS
from ..training.recipe_file import set_fields
from ..training.training_data import read_data
from .trial_runs import Outcome, Trial, check_own, claimed, run_trials

MOST_RUNS = 100


@dataclass(frozen=True, slots=True)
class Sweep:
    """Results of a grid search.

    Attributes:
        source: the images.
        fields: names of the fields that were varied.
        values: values of these fields for each outcome, as text.
        outcomes: one for each combination, in the order of the grid.
    """

    source: str
    fields: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    outcomes: tuple[Outcome, ...]

    @property
    def ranking(self) -> list[int]:
        """Places of the outcomes with a result, the best validation quality first."""
        known = [
            (-outcome.quality, place) for place, outcome in enumerate(self.outcomes) if outcome.quality is not None
        ]
        return [place for _, place in sorted(known)]

    @property
    def best(self) -> Outcome:
        """The outcome with the best validation quality.

        Raises:
            VitrailError: no run has a result.
        """
        if not self.ranking:
            reasons = "; ".join(dict.fromkeys(outcome.error for outcome in self.outcomes if outcome.error))
            raise VitrailError(f"no run of the sweep has a result: {reasons}")
        return self.outcomes[self.ranking[0]]


def sweep(
    source: str,
    over: Sequence[str],
    out: Path,
    recipe: Recipe | None = None,
    *,
    minutes: float | None = None,
    epochs: float | None = None,
    skip_bad: bool = False,
    progress: Track = silent,
    say: Say = discard_message,
) -> Sweep:
    """Train with every combination of the values.

    Args:
        source: what `train` takes by name.
        over: settings with several values, such as "muon_lr=0.01,0.02" or "overrides.patch_size=8,16".
        out: folder for the runs; a sweep that was stopped goes on in it.
        recipe: the other settings.
        minutes: time for all runs together. Each run has an equal share of it; with `epochs` each run has these
            epochs, and none begins when the time is used up.
        epochs: epochs of each run.
        skip_bad, progress, say: see `train`.

    Raises:
        VitrailError: an unknown field, a bad value, a field that changes nothing, too many combinations, a source that
            no run can be trained on, or a folder of another sweep.
    """
    if not over:
        raise VitrailError("a sweep needs fields to vary: --over muon_lr=0.01,0.02")
    grid = [grid_values(setting) for setting in over]
    fields = tuple(name for name, _ in grid)
    if len(set(fields)) < len(fields):
        raise VitrailError(f"--over names a field twice: {', '.join(fields)}; give all its values at once")
    combinations = list(itertools.product(*(values for _, values in grid)))
    if len(combinations) > MOST_RUNS:
        raise VitrailError(f"--over gives {len(combinations):,} runs: use {MOST_RUNS} or fewer")
    base = recipe or Recipe()
    if epochs is not None:
        base = replace(base, epochs=epochs)
    elif minutes is not None:
        base = replace(base, minutes=minutes / len(combinations))
    trials = [_trial(source, base, fields, values, number) for number, values in enumerate(combinations, 1)]
    _require_different(fields, trials)
    check_own(out)
    if not claimed(out):
        _require_usable(source, trials, skip_bad, progress)
    limit = minutes if epochs is not None else None
    found = run_trials(trials, out, minutes=limit, skip_bad=skip_bad, progress=progress, say=say)
    return Sweep(source, fields, tuple(combinations), tuple(found))


def grid_values(setting: str) -> tuple[str, tuple[str, ...]]:
    """Split "name=a,b" into the name and the values; commas in brackets divide no values.

    Raises:
        VitrailError: no value.
    """
    name, equals, text = setting.partition("=")
    values = tuple(part.strip() for part in re.split(r",(?![^\[{(]*[\]})])", text))
    if not equals or not name or not all(values):
        raise VitrailError(f"--over {setting} has no values: write --over {name or 'lr'}=VALUE,VALUE")
    return name, tuple(dict.fromkeys(values))


def best_command(found: Sweep, options: Sequence[str] = (), shared: Sequence[str] = ()) -> str:
    """The command that trains with the best combination.

    Args:
        found: the sweep.
        options: further words of the command, such as ["--epochs", "30"].
        shared: settings of all runs, such as ["batch_size=16"]; those of the combination come after them.
    """
    values = found.values[found.ranking[0]]
    settings = [f"{name}={value}" for name, value in zip(found.fields, values, strict=True)]
    return shlex.join(["vitrail", "train", found.source, *options, "--set", *shared, *settings])


def _require_different(fields: Sequence[str], trials: Sequence[Trial]) -> None:
    """Raise VitrailError if a field changes nothing, or if two combinations are the same recipe."""
    unused = [unused_fields(trial.recipe) for trial in trials]
    for name in fields:
        field = name.removeprefix("recipe.").split(".")[0]
        if all(field in each for each in unused):
            raise VitrailError(f"--over {name} changes nothing: {unused[0][field]}")
    for place, trial in enumerate(trials):
        for other in trials[:place]:
            if trial.recipe == other.recipe:
                raise VitrailError(
                    f"--over gives the same recipe twice, as {other.name} and {trial.name}: name each value once"
                )


def unused_fields(recipe: Recipe) -> dict[str, str]:
    """Fields that do not change the result of a recipe -> the reason, and what to vary in their place."""
    found: dict[str, str] = {}
    if recipe.solver == "lbfgs":
        reason = (
            "solver lbfgs fits the last layer in one step, to features of the images as they are; vary weights, "
            "image_size, objective.label_smoothing or seed, or train by steps, --set solver=steps"
        )
        found |= dict.fromkeys(UNUSED_BY_LBFGS, reason)
    elif recipe.optimizer in ("adamw", "lamb"):
        found["muon_lr"] = f"it is the rate of Muon, and the optimizer is {recipe.optimizer}; vary lr"
    if recipe.steps is not None:
        found["epochs"] = f"steps is {recipe.steps}, which takes precedence; vary steps"
    return found


def _require_usable(source: str, trials: Sequence[Trial], skip_bad: bool, progress: Track) -> None:
    """Raise the error of a source that none of the trials can be trained on. Files that were read are not read again by
    the trials."""
    recipes = [trial.recipe for trial in trials]
    readings = dict.fromkeys(reading_of(each, labelled=uses_labels(each), skip_bad=skip_bad) for each in recipes)
    errors = []
    for reading in readings:
        try:
            read_data(source, reading, progress=progress)
            return
        except VitrailError as error:
            errors.append(error)
    raise errors[0]


def _trial(source: str, base: Recipe, fields: Sequence[str], values: Sequence[str], number: int) -> Trial:
    settings = [f"{name}={value}" for name, value in zip(fields, values, strict=True)]
    words = [re.sub(r"[^\w.+=-]+", "_", setting.removeprefix("overrides.")) for setting in settings]
    recipe = set_fields(base, settings, lambda: open_source(source).task)
    return Trial(f"{number:03}-{'-'.join(words)}"[:120], recipe, source)
