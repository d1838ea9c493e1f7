"""Recorder that writes log and checkpoints of a run to its folder."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..checkpoint.contract import Checkpoint, save
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel
from .folder import RunFolder
from .loggers import Logger
from .loop import LogRow, Trainer
from .progress_advice import advice
from .state import Counters, set_aside, state_files


@dataclass(frozen=True)
class FolderRecorder:
    """Writes the log, `checkpoints/best` and `checkpoints/last` of a run.

    Attributes:
        folder: the run folder.
        checkpoint: config, class names and preprocessing, saved with the weights.
        loggers: further receivers of the metric log.
        say: prints a line for each evaluation.
        started: `time.monotonic()` at the start of the run, earlier by the time of tries that were stopped.
    """

    folder: RunFolder
    checkpoint: Checkpoint
    loggers: Sequence[Logger]
    say: Callable[[str], None]
    started: float

    def record(self, row: LogRow, counters: Counters) -> None:
        """Add a row to the log; drops rows of steps after the saved state, which an interrupted try may have left."""
        rows = [*self.folder.rows()[: counters.rows], row]
        counters.rows = len(rows)
        self.folder.write_rows(rows)
        for logger in self.loggers:
            logger.log(row)
        self.say(", ".join(f"{name} {value:.6g}" for name, value in row.items()))
        for sentence in advice(rows):
            self.say(f"note: {sentence}")

    def keep_best(self, model: BaseVisionModel[ModelConfig], row: LogRow) -> None:
        """Save the weights, with the row as their metrics."""
        self.folder.require_there()
        best = replace(self.checkpoint, model=model, info={**self.checkpoint.info, "metrics": row})
        save(best, self.folder.checkpoints / "best")

    def keep_state(self, trainer: Trainer) -> None:
        """Save the weights and the state to resume from; the last state becomes `previous`."""
        self.folder.require_there()
        trainer.require_finite()
        set_aside(self.folder.checkpoints)
        save_state(self.folder.checkpoints / "last", self.checkpoint, trainer)
        self.folder.write_seconds(time.monotonic() - self.started)

    def close(self) -> None:
        """Close the loggers."""
        for logger in self.loggers:
            logger.close()


def save_state(path: Path, checkpoint: Checkpoint, trainer: Trainer) -> None:
    """Save a checkpoint that a run can be resumed from: the trained weights and the trainer's state.

    Raises:
        Diverged: a tensor of the state is not finite; nothing is written.
    """
    trainer.require_finite()
    files = state_files(trainer.objective, trainer.optimizers, trainer.ema, trainer.scaler, trainer.counters)
    save(replace(checkpoint, model=trainer.model), path, extra=files)
