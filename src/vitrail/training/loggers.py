"""Loggers of metrics besides the run folder: TensorBoard, Weights & Biases, MLflow, or an object of the user."""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from ..errors import VitrailError, nearest


class Logger(Protocol):
    """Receives the rows of the metric log: name -> number, with "step" and "epoch"."""

    def log(self, row: Mapping[str, Any]) -> None:
        """Add the row of an evaluation. A resumed run may log its last steps a second time."""

    def close(self) -> None:
        """Called once, after the last row."""


class TensorBoardLogger:
    """Scalars in the folder `tensorboard` of the run."""

    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        from torch.utils import tensorboard

        self._writer: Callable[..., Any] = tensorboard.SummaryWriter
        self.folder = run / "tensorboard"

    def log(self, row: Mapping[str, Any]) -> None:
        """Add one evaluation, and purge what an interrupted try wrote for this step or later ones."""
        with self._writer(str(self.folder), purge_step=row["step"]) as writer:
            for name, value in _scalars(row).items():
                writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Do nothing: no file is open between two rows."""
        return


class WandbLogger:
    """A run of Weights & Biases with the run folder's name; a resumed run continues the same one."""

    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        import wandb

        name = run.resolve().name
        self._run = wandb.init(id=name, name=name, dir=str(run), config=dict(settings), resume="allow")

    def log(self, row: Mapping[str, Any]) -> None:
        self._run.log(_scalars(row), step=row["step"])

    def close(self) -> None:
        self._run.finish()


class MLflowLogger:
    """A run of MLflow with the run folder's name, on the tracking server of MLflow's own settings."""

    def __init__(self, run: Path, settings: Mapping[str, Any]) -> None:
        import mlflow

        self._mlflow = mlflow
        mlflow.start_run(run_name=run.resolve().name)
        mlflow.log_params({name: str(value)[:500] for name, value in settings.items()})

    def log(self, row: Mapping[str, Any]) -> None:
        self._mlflow.log_metrics(_scalars(row), step=row["step"])

    def close(self) -> None:
        self._mlflow.end_run()


LOGGERS: dict[str, Callable[[Path, Mapping[str, Any]], Logger]] = {
    "tensorboard": TensorBoardLogger,
    "wandb": WandbLogger,
    "mlflow": MLflowLogger,
}
"""Name in a recipe's `loggers` -> function (run folder, settings to show) -> Logger."""


def make_loggers(names: Sequence[str], run: Path, settings: Mapping[str, Any]) -> list[Logger]:
    """Build the loggers that a recipe names, see `LOGGERS`; `require_loggers` has checked the names."""
    return [LOGGERS[name](run, settings) for name in names]


def require_loggers(names: Sequence[str]) -> None:
    """Check the names of loggers, before the run folder is created.

    Raises:
        VitrailError: unknown name, or its library is not installed.
    """
    for name in names:
        if name not in LOGGERS:
            raise VitrailError(f"there is no logger {name!r}: {nearest(name, LOGGERS)}")
        if find_spec(name) is None:
            raise VitrailError(f'logger {name} is not installed: pip install "vitrail[{name}]", or leave it out')


def _scalars(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in row.items() if name != "step"}
