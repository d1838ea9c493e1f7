"""The loop: batches in, a trained model and its log out."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from ..data.augment import Mix
from ..data.loader import Batch, TrainLoader
from ..data.seeds import derive
from ..errors import VitrailError
from ..nn import AnyVisionModel
from ..objectives.loss import Loss
from ..progress import Track, silent
from .ema import EMA
from .growth import SMALL_PART, shrink_batch, small_size
from .optimizer import set_lr, train_mode
from .recipe import Recipe, settled
from .schedule import lr_factor
from .state import Counters
from .stop import Stopped, StopSignal

Objective = Callable[[nn.Module, Batch, int], Loss]
Row = dict[str, Any]
Evaluate = Callable[[AnyVisionModel], tuple[float, Row]]
"""Model -> quality on the validation split (more is better) and the columns of the metric log."""


class Diverged(VitrailError):  # noqa: N818 - a state of the run, named as the field does
    """The loss became infinite or not a number."""


class Keeper(Protocol):
    """Where a trainer leaves what it makes."""

    def record(self, row: Row, counters: Counters) -> None:
        """Add a line to the metric log."""

    def keep_best(self, model: AnyVisionModel, row: Row) -> None:
        """Save the weights that are the best so far."""

    def keep_state(self, trainer: "Trainer") -> None:
        """Save everything that going on needs."""


class Trainer:
    """A run between its first and last step. All randomness is a function of (seed, step), so it can stop anywhere.

    Args:
        model: on its device.
        objective: (model, batch, step) -> Loss.
        loader: training batches.
        mix: Mixup or CutMix of a batch, or None.
        recipe: resolved; `steps`, `batch_size`, `lr` and `evaluate_every` are numbers.
        precision: of the matrix products.
        optimizers: see `make_optimizers`.
        names: the files of the training samples, for errors.
    """

    def __init__(
        self,
        model: AnyVisionModel,
        objective: Objective,
        loader: TrainLoader,
        mix: Mix | None,
        recipe: Recipe,
        *,
        precision: torch.dtype,
        optimizers: list[Optimizer],
        names: list[str],
    ) -> None:
        self.model = model
        self.objective = objective
        self.loader = loader
        self.mix = mix
        self.recipe = recipe
        self.precision = precision
        self.optimizers = optimizers
        self.names = names
        self.device = next(model.parameters()).device
        self.ema = EMA(model, recipe.ema) if recipe.ema else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == torch.float16)
        self.counters = Counters()
        self.lr = 0.0
        self.image_size = loader.preprocess.image_size
        self.small_size = small_size(model, self.image_size, settled(recipe.start_size))

    @property
    def evaluated(self) -> AnyVisionModel:
        """The weights that count: the moving average where there is one."""
        return self.ema.model if self.ema else self.model

    def fit(self, evaluate: Evaluate, keeper: Keeper, *, progress: Track = silent) -> None:
        """Train from where the counters stand to the last step.

        Raises:
            Diverged: the loss is no finite number.
            Stopped: SIGINT or SIGTERM came; the state is saved.
        """
        steps, every = settled(self.recipe.steps), self.steps_between_evaluations()
        batches = self.batches()
        saved = time.monotonic()
        with StopSignal() as stop:
            for step in progress(range(self.counters.step, steps), steps - self.counters.step, "training"):
                if self._out_of_patience():
                    break
                self.step(batches)
                done = step + 1
                if done % every == 0 or done == steps:
                    self.evaluate(evaluate, keeper)
                elif stop.name is None and time.monotonic() - saved < self.recipe.save_minutes * 60:
                    continue
                keeper.keep_state(self)
                saved = time.monotonic()
                if stop.name is not None and done < steps:
                    raise Stopped(f"stopped by {stop.name} after step {done} of {steps}; the state is saved")

    def steps_between_evaluations(self) -> int:
        """Optimiser steps from one evaluation to the next."""
        return max(1, round(settled(self.recipe.evaluate_every) * len(self.loader) / self.recipe.accumulate))

    def size_at(self, step: int) -> tuple[int, int]:
        """Height and width of the pixels of a step."""
        return self.small_size if step < SMALL_PART * settled(self.recipe.steps) else self.image_size

    def batches(self) -> Iterator[Batch]:
        """All batches from the present step on."""
        return self.loader.batches(self.counters.step * self.recipe.accumulate)

    def step(self, batches: Iterator[Batch]) -> None:
        """One optimiser step."""
        step, recipe = self.counters.step, self.recipe
        train_mode(self.model)
        total = 0.0
        for part in range(recipe.accumulate):
            batch = next(batches)
            torch.manual_seed(derive(recipe.seed, "step", step, part))
            total += self._learn_from(batch, step)
        self._update()
        self.counters.step += 1
        self.counters.loss_sum += total / recipe.accumulate
        self.counters.loss_count += 1
        if self.ema:
            self.ema.update(self.model, step)

    def evaluate(self, evaluate: Evaluate, keeper: Keeper) -> None:
        """Measure the weights that count, log it, and keep them if they are the best so far."""
        counters = self.counters
        micro = counters.step * self.recipe.accumulate
        quality, measured = evaluate(self.evaluated)
        row = {
            "epoch": round(micro / len(self.loader), 4),
            "step": counters.step,
            "lr": self.lr,
            "train_loss": counters.loss_sum / max(1, counters.loss_count),
            **measured,
        }
        better = counters.best is None or quality > counters.best
        counters.stale = 0 if better else counters.stale + 1
        # Of equals the later is kept: it has learned longer, at a lower learning rate.
        best = better or quality == counters.best
        if best:
            counters.best, counters.best_step = quality, counters.step
        counters.loss_sum, counters.loss_count = 0.0, 0
        keeper.record(row, counters)
        if best:
            keeper.keep_best(self.evaluated, row)

    def _learn_from(self, batch: Batch, step: int) -> float:
        pixels = batch.pixels.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        targets = batch.targets.to(self.device, non_blocking=True)
        pixels = shrink_batch(pixels, self.size_at(step))
        if self.mix:
            pixels, targets = self.mix(pixels, targets)
        reduced = self.precision != torch.float32
        with torch.autocast(self.device.type, self.precision, enabled=reduced):
            loss = self.objective(self.model, Batch(pixels, targets, batch.indices), step).total
        value = loss.item()
        if not math.isfinite(value):
            raise Diverged(self._divergence(value, batch, step))
        self.scaler.scale(loss / self.recipe.accumulate).backward()
        return value

    def _update(self) -> None:
        recipe, steps = self.recipe, settled(self.recipe.steps)
        warmup = round(recipe.warmup * steps)
        factor = lr_factor(self.counters.step, steps, warmup=warmup, schedule=recipe.schedule, final=recipe.final_lr)
        set_lr(self.optimizers, factor)
        self.lr = self.optimizers[0].param_groups[0]["lr"]
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        if recipe.clip:
            nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.grad is not None], recipe.clip)
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)
        self.scaler.update()

    def _out_of_patience(self) -> bool:
        return self.recipe.patience is not None and self.counters.stale >= self.recipe.patience

    def _divergence(self, value: float, batch: Batch, step: int) -> str:
        files = [self.names[index] for index in batch.indices]
        shown = ", ".join(files[:8]) + (f" and {len(files) - 8} more" if len(files) > 8 else "")
        return (
            f"the loss is {value} at step {step + 1}, on the batch {shown}. "
            "Use a smaller lr, a longer warmup or precision=float32, or look at these files"
        )
