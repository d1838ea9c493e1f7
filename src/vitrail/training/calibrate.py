"""Calibration of a trained model on the validation split."""

from dataclasses import replace
from pathlib import Path

from ..checkpoint.contract import load, save
from ..models.registry import override
from ..tasks.placed import PlacedTask
from ..tasks.task import Task
from .measure import Scored, score
from .recipe import chosen
from .setup import RunSetup


def calibrated(setup: RunSetup, path: Path, known: Scored | None = None) -> RunSetup:
    """Fit the task to a checkpoint's result on the validation split, and save it with the checkpoint.

    Args:
        setup: unchanged unless the task judges the run.
        path: the checkpoint, which is written anew.
        known: its result on the validation split, if there is one.

    Returns:
        The setup with the calibrated task: metrics, report and mistakes use it, as every command on the checkpoint
        does.
    """
    data, part = setup.data, setup.part("val")
    if not setup.by_task or data.task is None or not len(part):
        return setup
    if isinstance(data.task, PlacedTask) and not data.task.is_open:
        return setup
    best = load(path)
    scored = score(setup, best.model, "val") if known is None else known
    if isinstance(data.task, PlacedTask):
        task: Task = data.task.fitted_to(chosen(scored.metrics))
    else:
        task = data.task.calibrated(scored.output, data.targets(part))
    if task != data.task:
        best.model.config = override(best.model.config, {"task": task.spec}, path.name)
        save(best, path)
    return replace(setup, data=replace(data, task=task))
