"""The state of a run between two steps, which makes a resumed run bit-identical."""

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.optim import Optimizer

from ..checkpoint.atomic import Content, DamagedCheckpoint, finish_interrupted, verified_folder
from ..errors import VitrailError
from ..objectives.objective import Objective
from ..plain import read_json
from .ema import EMA

TENSORS, COUNTERS = "trainer.safetensors", "trainer.json"


@dataclass(slots=True)
class Counters:
    """Progress of a run.

    Attributes:
        step: number of optimiser steps done.
        loss_sum, loss_count: sum and number of training losses since the last evaluation.
        part_sums: sums of the named parts of the loss since then.
        best: best quality on the validation split so far, reached at `best_step`.
        stale: evaluations since the best one.
        rows: rows of the metric log up to this state; later rows are of steps that will be repeated.
    """

    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    part_sums: dict[str, float] = field(default_factory=dict)
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    rows: int = 0

    def add(self, losses: Mapping[str, float]) -> None:
        """Add the losses of a step: the total as "loss", and its parts."""
        self.loss_sum += losses["loss"]
        self.loss_count += 1
        for name, value in losses.items():
            if name != "loss":
                self.part_sums[name] = self.part_sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        """Mean losses since the last evaluation."""
        count = max(1, self.loss_count)
        return {"loss": self.loss_sum / count, **{name: total / count for name, total in self.part_sums.items()}}

    def forget_losses(self) -> None:
        """Reset the sums of losses."""
        self.loss_sum, self.loss_count, self.part_sums = 0.0, 0, {}


def state_files(
    objective: Objective, optimizers: list[Optimizer], ema: EMA | None, scaler: Any, counters: Counters
) -> dict[str, Content]:
    """File name -> content, for the parts of the state other than the model's weights."""
    tensors = {name: tensor.detach().contiguous() for name, tensor in _optimizer_tensors(objective, optimizers)}
    tensors |= {f"objective.{name}": tensor.contiguous() for name, tensor in objective.own_state().items()}
    if ema is not None:
        tensors |= {f"ema.{name}": tensor.contiguous() for name, tensor in ema.model.state_dict().items()}
    document = {"counters": asdict(counters), "scaler": scaler.state_dict()}
    return {TENSORS: save(tensors), COUNTERS: json.dumps(document, indent=2).encode()}


def restore(folder: Path, objective: Objective, optimizers: list[Optimizer], ema: EMA | None, scaler: Any) -> Counters:
    """Load the model's weights and what `state_files` saved from `folder`; return the counters."""
    weights, tensors = load_file(folder / "model.safetensors"), load_file(folder / TENSORS)
    document = read_json(folder / COUNTERS)
    objective.model.load_state_dict(weights)
    objective.load_state_dict({**objective.state_dict(), **_under("objective.", tensors)})
    if ema is not None:
        ema.model.load_state_dict(_under("ema.", tensors))
    _restore_optimizers(objective, optimizers, tensors)
    scaler.load_state_dict(document["scaler"])
    return Counters(**document["counters"])


def not_finite(objective: Objective, optimizers: list[Optimizer], ema: EMA | None) -> str | None:
    """Name of the first tensor of the state with an infinite value or NaN, or None."""
    averages = ema.model.state_dict() if ema is not None else {}
    tensors = chain(
        objective.state_dict().items(),
        ((f"ema.{name}", tensor) for name, tensor in averages.items()),
        _optimizer_tensors(objective, optimizers),
    )
    return next((name for name, tensor in tensors if not torch.isfinite(tensor).all()), None)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def latest(checkpoints: Path) -> Path | None:
    """Newest complete state of a run: `last` or, with a warning, `previous`; None if none was saved yet.

    Finishes a save that a killed process left incomplete, if its files are all there.
    """
    faults = []
    for name in ("last", "previous"):
        try:
            verified_folder(checkpoints / name)
        except DamagedCheckpoint as damage:
            if (checkpoints / name).exists():
                faults.append(str(damage))
            continue
        finish_interrupted(checkpoints / name)
        if faults:
            warnings.warn(f"{faults[0]}; resuming from {name}", stacklevel=2)
        return checkpoints / name
    if faults:
        raise VitrailError(f"no complete state is left to resume from: {'; '.join(faults)}; start a new run")
    return None


def set_aside(checkpoints: Path) -> None:
    """Keep the last state as `previous` while a new one is written."""
    last, previous = checkpoints / "last", checkpoints / "previous"
    if not (last / COUNTERS).exists():
        return
    shutil.rmtree(previous, ignore_errors=True)
    last.rename(previous)


def _named(objective: Objective, optimizer: Optimizer) -> Iterator[tuple[str, nn.Parameter]]:
    names = {param: name.removeprefix("model.") for name, param in objective.named_parameters()}
    for group in optimizer.param_groups:
        for param in group["params"]:
            yield names[param], param


def _optimizer_tensors(objective: Objective, optimizers: list[Optimizer]) -> Iterator[tuple[str, Tensor]]:
    for optimizer in optimizers:
        for name, param in _named(objective, optimizer):
            for key, value in optimizer.state.get(param, {}).items():
                yield f"optimizer.{name}:{key}", value


def _restore_optimizers(objective: Objective, optimizers: list[Optimizer], tensors: dict[str, Tensor]) -> None:
    saved: dict[str, dict[str, Tensor]] = {}
    for label, tensor in tensors.items():
        if label.startswith("optimizer."):
            name, key = label.removeprefix("optimizer.").rsplit(":", 1)
            saved.setdefault(name, {})[key] = tensor
    for optimizer in optimizers:
        for name, param in _named(objective, optimizer):
            if name in saved:
                optimizer.state[param] = {key: _like(param, value) for key, value in saved[name].items()}


def _like(param: Tensor, value: Tensor) -> Tensor:
    """Move a value to the parameter's device and memory layout."""
    if value.shape != param.shape:
        return value.to(param.device)
    return torch.empty_like(param, dtype=value.dtype).copy_(value)
