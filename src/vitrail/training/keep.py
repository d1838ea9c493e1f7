"""What a run writes while it trains."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..checkpoint.contract import Checkpoint, save
from ..nn import AnyVisionModel
from .board import write_scalars
from .folder import RunFolder
from .state import Counters, set_aside, state_files
from .trainer import Row, Trainer


@dataclass
class FolderKeeper:
    """Keeps a run in its folder: the log, `checkpoints/best` and `checkpoints/last`."""

    folder: RunFolder
    checkpoint: Checkpoint
    tensorboard: bool
    say: Callable[[str], None]

    def record(self, row: Row, counters: Counters) -> None:
        """Add a line to the log, in place of what steps after the saved state may have left there."""
        rows = [*self.folder.rows()[: counters.rows], row]
        counters.rows = len(rows)
        self.folder.write_rows(rows)
        if self.tensorboard:
            write_scalars(self.folder.path / "tensorboard", row)
        self.say(", ".join(f"{name} {value:.6g}" for name, value in row.items()))

    def keep_best(self, model: AnyVisionModel, row: Row) -> None:
        """Save the weights, with the row as their metrics."""
        best = replace(self.checkpoint, model=model, info={**self.checkpoint.info, "metrics": row})
        save(best, self.folder.checkpoints / "best")

    def keep_state(self, trainer: Trainer) -> None:
        """Save the weights as they are and all that going on needs; the state before stays as `previous`."""
        files = state_files(trainer.model, trainer.optimizers, trainer.ema, trainer.scaler, trainer.counters)
        set_aside(self.folder.checkpoints)
        save(replace(self.checkpoint, model=trainer.model), self.folder.checkpoints / "last", extra=files)
