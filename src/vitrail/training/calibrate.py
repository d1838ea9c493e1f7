"""Calibration of a trained model on the validation split."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..checkpoint.contract import load, save
from ..models.registry import override
from ..tasks.placed import PlacedTask
from .measure import outputs
from .setup import RunSetup


def calibrated(setup: RunSetup, path: Path, output: Any = None) -> RunSetup:
    """Fit the task to the outputs of a checkpoint for the validation split, and save it with the checkpoint.

    Args:
        setup: unchanged unless the task judges the run and keeps outputs.
        path: the checkpoint, which is written anew.
        output: its outputs for the validation split, if they are known.

    Returns:
        The setup with the calibrated task: metrics, report and mistakes use it, as every command on the checkpoint
        does.
    """
    data, part = setup.data, setup.part("val")
    if not setup.by_task or data.task is None or isinstance(data.task, PlacedTask) or not len(part):
        return setup
    best = load(path)
    found = outputs(setup, best.model, "val") if output is None else output
    task = data.task.calibrated(found, data.targets(part))
    if task != data.task:
        best.model.config = override(best.model.config, {"task": task.spec}, path.name)
        save(best, path)
    return replace(setup, data=replace(data, task=task))
