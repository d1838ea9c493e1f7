"""The state of a run between two steps: what has to be saved so that going on gives the same run to the last bit."""

import json
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.optim import Optimizer

from ..checkpoint.atomic import Content, DamagedCheckpoint, finish_interrupted, verified_folder
from ..errors import VitrailError
from .ema import EMA

TENSORS, COUNTERS = "trainer.safetensors", "trainer.json"


@dataclass(slots=True)
class Counters:
    """Where a run stands.

    Attributes:
        step: optimiser steps done.
        loss_sum, loss_count: of the training loss since the last evaluation.
        best: the best quality on the validation split so far, at `best_step`.
        stale: evaluations since then.
        rows: lines of the metric log that belong to this state; later ones came from steps that will be done again.
    """

    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    rows: int = 0


def state_files(
    model: nn.Module, optimizers: list[Optimizer], ema: EMA | None, scaler: Any, counters: Counters
) -> dict[str, Content]:
    """The files that stand beside the model's weights in a checkpoint from which a run can go on."""
    tensors = {name: tensor.detach().contiguous() for name, tensor in _optimizer_tensors(model, optimizers)}
    if ema is not None:
        tensors |= {f"ema.{name}": tensor.contiguous() for name, tensor in ema.model.state_dict().items()}
    document = {"counters": asdict(counters), "scaler": scaler.state_dict()}
    return {TENSORS: save(tensors), COUNTERS: json.dumps(document, indent=2).encode()}


def restore(folder: Path, model: nn.Module, optimizers: list[Optimizer], ema: EMA | None, scaler: Any) -> Counters:
    """Bring everything back to what `state_files` and the model's weights in `folder` hold."""
    weights, tensors = load_file(folder / "model.safetensors"), load_file(folder / TENSORS)
    document = json.loads((folder / COUNTERS).read_text())
    model.load_state_dict(weights)
    if ema is not None:
        ema.model.load_state_dict(
            {name.removeprefix("ema."): tensor for name, tensor in tensors.items() if name.startswith("ema.")}
        )
    _restore_optimizers(model, optimizers, tensors)
    scaler.load_state_dict(document["scaler"])
    return Counters(**document["counters"])


def latest(checkpoints: Path) -> Path | None:
    """The newest whole state of a run, `last` or, with a warning, `previous`; None where none was saved yet.

    What a kill in the middle of a save left beside its place is brought there first.
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
            warnings.warn(f"{faults[0]}; going on from {name}", stacklevel=2)
        return checkpoints / name
    if faults:
        raise VitrailError(f"no whole state is left to go on from: {'; '.join(faults)}; start a new run")
    return None


def set_aside(checkpoints: Path) -> None:
    """Keep the last state as `previous` while a new one is written."""
    last, previous = checkpoints / "last", checkpoints / "previous"
    if not (last / COUNTERS).exists():
        return
    shutil.rmtree(previous, ignore_errors=True)
    last.rename(previous)


def _named(model: nn.Module, optimizer: Optimizer) -> Iterator[tuple[str, nn.Parameter]]:
    names = {param: name for name, param in model.named_parameters()}
    for group in optimizer.param_groups:
        for param in group["params"]:
            yield names[param], param


def _optimizer_tensors(model: nn.Module, optimizers: list[Optimizer]) -> Iterator[tuple[str, Tensor]]:
    for optimizer in optimizers:
        for name, param in _named(model, optimizer):
            for key, value in optimizer.state.get(param, {}).items():
                yield f"optimizer.{name}:{key}", value


def _restore_optimizers(model: nn.Module, optimizers: list[Optimizer], tensors: dict[str, Tensor]) -> None:
    saved: dict[str, dict[str, Tensor]] = {}
    for label, tensor in tensors.items():
        if label.startswith("optimizer."):
            name, key = label.removeprefix("optimizer.").rsplit(":", 1)
            saved.setdefault(name, {})[key] = tensor
    for optimizer in optimizers:
        for name, param in _named(model, optimizer):
            if name in saved:
                optimizer.state[param] = {key: _like(param, value) for key, value in saved[name].items()}


def _like(param: Tensor, value: Tensor) -> Tensor:
    """On the parameter's device, and laid out in memory as the parameter is."""
    if value.shape != param.shape:
        return value.to(param.device)
    return torch.empty_like(param, dtype=value.dtype).copy_(value)
