"""Train a run from its last state to the end, evaluate the best weights, write the report and the model card."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..checkpoint.contract import load, save
from ..json_text import json_text
from ..progress import Say, Track
from .calibrate import calibrated
from .folder import EVALUATION, RunFolder
from .loggers import Logger, make_loggers
from .loop import Diverged, Trainer
from .measure import Judge, Scored, evaluate_loss, score, with_features
from .publish.cautions import run_cautions
from .publish.report import headline
from .publish.results import Result, write_results
from .recipe import timed
from .recipe_file import recipe_to_dict
from .recorder import FolderRecorder
from .setup import RunSetup
from .solve import HeadSolver
from .state import latest, restore
from .stop import Stopped
from .time_budget import first_plan, time_budget


@dataclass(frozen=True)
class Audience:
    """Receivers of a run's messages, progress and metrics.

    Attributes:
        started: `time.monotonic()` when the run was requested.
        progress: receives the progress.
        say: receives messages, a line each.
        loggers: objects that take the rows of the metric log.
    """

    started: float
    progress: Track
    say: Say
    loggers: Sequence[Logger]


def fit_and_finish(folder: RunFolder, setup: RunSetup, audience: Audience) -> dict[str, float]:
    """Train from the last saved state, write report and model card, and return the main metrics of the held-out split.

    Raises:
        Diverged: the loss is not finite; the message names the last good state.
        Stopped: a signal stopped the run; its state is saved.
    """
    started = audience.started - folder.seconds()
    trainer = setup.trainer(folder.plan() or first_plan(setup))
    _restore_latest(folder, trainer, audience.say)
    loggers = [*make_loggers(setup.recipe.loggers, folder.path, recipe_to_dict(setup.recipe)), *audience.loggers]
    recorder = FolderRecorder(folder, setup.checkpoint, loggers, audience.say, started)
    judge = Judge(setup)
    solve = None
    if setup.recipe.solver == "lbfgs" and trainer.counters.step < trainer.planned_steps:
        solve = HeadSolver(setup, trainer, audience.progress)
    begun, resumed = time.monotonic(), trainer.counters.step > 0
    pace = time_budget(setup, started, folder.write_plan) if timed(setup.recipe) else None
    try:
        trainer.fit(judge, recorder, pace=pace, solve=solve, progress=audience.progress)
    except Diverged as error:
        raise Diverged(
            f"{error}. Last good state: {latest(folder.checkpoints)}; --resume would repeat these steps, so start a "
            "new run with other settings, from the beginning or with --weights of this state"
        ) from error
    except Stopped as stop:
        raise Stopped(f"{stop}; to continue: vitrail train --resume {folder.path}") from None
    finally:
        recorder.close()
    fitting = time.monotonic() - begun
    setup = calibrated(setup, folder.checkpoints / "best", judge.best(trainer))
    scored = _measure(folder, setup, trainer)
    found = scored.found
    seconds, (split, _) = time.monotonic() - started, setup.held_out
    once = 0.0 if resumed else seconds - fitting  # a resumed run does not know how long its first part trained
    cautions = run_cautions(setup, trainer, found, seconds, once)
    words = {"facts": headline(found), "cautions": cautions}
    folder.write(EVALUATION, json_text({"split": split, **found.to_dict(), **words}) + "\n")
    write_results(folder, setup, trainer, Result(scored, cautions, seconds))
    return {f"{split}_{key}": value for key, value in found.headline().items()}


def _restore_latest(folder: RunFolder, trainer: Trainer, say: Say) -> None:
    """Put the trainer into the last saved state, if there is one."""
    state = latest(folder.checkpoints)
    if state is None:
        return
    trainer.counters = restore(state, trainer.objective, trainer.optimizers, trainer.ema, trainer.scaler)
    trainer.require_finite()
    if trainer.counters.step:
        say(f"resuming from step {trainer.counters.step} of {trainer.planned_steps}")


def _measure(folder: RunFolder, setup: RunSetup, trainer: Trainer) -> Scored:
    """Evaluate the best checkpoint on the held-out split and write the metrics into it."""
    best = load(folder.checkpoints / "best")
    split, _ = setup.held_out
    if setup.by_task:
        scored = score(setup, best.model, split)
    else:
        if trainer.objective.trained() is trainer.model:
            trainer.ema = None
            trainer.model.load_state_dict(best.model.state_dict())
        scored = Scored(with_features(setup, best.model, split, evaluate_loss(setup, trainer, split)))
    found = replace(scored.found, bad=setup.data.survey.bad)
    measured = {f"{split}_{key}": value for key, value in found.headline().items()}
    best.info["metrics"] = {**best.info["metrics"], **measured}
    save(best, folder.checkpoints / "best")
    return replace(scored, found=found)
