"""What a run writes while it trains."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..checkpoint.contract import Checkpoint, save
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel
from .folder import RunFolder
from .loggers import Logger
from .loop import LogRow, Trainer
from .state import Counters, set_aside, state_files


@dataclass(frozen=True)
class FolderRecorder:
    """Keeps a run in its folder: the log, `checkpoints/best` and `checkpoints/last`.

    Attributes:
        folder: of the run.
        checkpoint: what is saved beside the weights.
        loggers: where the metric log goes as well.
        say: prints a line for each evaluation.
    """

    folder: RunFolder
    checkpoint: Checkpoint
    loggers: Sequence[Logger]
    say: Callable[[str], None]

    def record(self, row: LogRow, counters: Counters) -> None:
        """Add a line to the log, in place of what steps after the saved state may have left there."""
        rows = [*self.folder.rows()[: counters.rows], row]
        counters.rows = len(rows)
        self.folder.write_rows(rows)
        for logger in self.loggers:
            logger.log(row)
        self.say(", ".join(f"{name} {value:.6g}" for name, value in row.items()))

    def keep_best(self, model: BaseVisionModel[ModelConfig], row: LogRow) -> None:
        """Save the weights, with the row as their metrics."""
        best = replace(self.checkpoint, model=model, info={**self.checkpoint.info, "metrics": row})
        save(best, self.folder.checkpoints / "best")

    def keep_state(self, trainer: Trainer) -> None:
        """Save the weights as they are and all that a resumed run needs; the state before stays as `previous`."""
        set_aside(self.folder.checkpoints)
        save_state(self.folder.checkpoints / "last", self.checkpoint, trainer)

    def close(self) -> None:
        """End the loggers' work."""
        for logger in self.loggers:
            logger.close()


def save_state(path: Path, checkpoint: Checkpoint, trainer: Trainer) -> None:
    """Save a checkpoint that a run can be resumed from: the weights that learn, beside the trainer's state."""
    files = state_files(trainer.objective, trainer.optimizers, trainer.ema, trainer.scaler, trainer.counters)
    save(replace(checkpoint, model=trainer.model), path, extra=files)
