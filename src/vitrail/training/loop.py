"""The training loop."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from ..data.loader import Batch, TrainLoader
from ..data.seeds import derive
from ..engines.precision import on_device, reduced_precision
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel
from ..objectives.objective import Loss, Moment, Objective
from ..progress import Track, silent
from .ema import EMA
from .growth import SMALL_PART, shrink_batch, small_size
from .listeners import Pace, Recorder
from .optimizer import set_lr, train_mode
from .recipe import Recipe, chosen
from .schedule import scheduled_factor
from .state import Counters, not_finite
from .step_plan import StepPlan
from .stop import Stopped, StopSignal

LogRow = dict[str, Any]
"""The columns of the metric log for one evaluation."""

Evaluate = Callable[["Trainer"], tuple[float | None, LogRow]]
"""Trainer -> quality on the validation split (higher is better; None if none is defined), and columns of the log."""


Solve = Callable[["Trainer"], dict[str, float]]
"""Trainer -> mean losses, after changing its model's weights."""

Settle = Callable[["Trainer", BaseVisionModel[ModelConfig]], BaseVisionModel[ModelConfig]]
"""(trainer, the weights to evaluate) -> the model that is evaluated and saved."""


class Diverged(VitrailError):  # noqa: N818 - a state of the run, named as the field does
    """The loss became infinite or not a number."""


class Trainer:
    """Runs the training steps. All randomness is a function of (seed, step), so that a run can stop at any step.

    Args:
        objective: the root module around the model, on its device.
        loader: training batches.
        recipe: resolved; `batch_size` and `lr` are numbers.
        precision: number format of the matrix products.
        optimizers: see `make_optimizers`.
        names: file names of the training samples, for error messages.
        plan: number of steps and evaluations.
        settle: what to do to the weights before they are evaluated and saved: model -> model; None: nothing.
    """

    def __init__(
        self,
        objective: Objective,
        loader: TrainLoader,
        recipe: Recipe,
        *,
        precision: torch.dtype,
        optimizers: list[Optimizer],
        names: list[str],
        plan: StepPlan,
        settle: Settle | None = None,
    ) -> None:
        self.objective = objective
        self.loader = loader
        self.recipe = recipe
        self.precision = precision
        self.optimizers = optimizers
        self.names = names
        self.device = next(objective.parameters()).device
        self.ema = EMA(objective.trained(), recipe.ema) if recipe.ema else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == torch.float16)
        self.counters = Counters()
        self.lr = 0.0
        self.plan = plan
        self.settle = settle
        self._settled: BaseVisionModel[ModelConfig] | None = None
        self.image_size = loader.preprocess.image_size
        self.small_size = small_size(objective.model, self.image_size, chosen(recipe.start_size))

    @property
    def model(self) -> BaseVisionModel[ModelConfig]:
        """The weights that learn."""
        return self.objective.model

    @property
    def evaluated(self) -> BaseVisionModel[ModelConfig]:
        """The weights to evaluate: the moving average if there is one; during an evaluation with fresh statistics."""
        return self._settled or (self.ema.model if self.ema else self.objective.trained())

    def fit(
        self,
        evaluate: Evaluate,
        recorder: Recorder,
        *,
        pace: Pace | None = None,
        solve: Solve | None = None,
        progress: Track = silent,
    ) -> None:
        """Train from the current step to the last one.

        Args:
            evaluate: evaluates the trainer.
            recorder: receives log, weights and states.
            pace: keeps a time budget.
            solve: does each step in place of an optimiser.
            progress: counts the steps.

        Raises:
            Diverged: the loss is not finite.
            Stopped: SIGINT or SIGTERM was received; the state is saved.
        """
        batches = self.batches()
        saved = time.monotonic()
        with StopSignal() as stop:
            first = self.counters.step
            for _ in progress(self._remaining(), lambda: self.planned_steps - first, "training"):
                self._stepped(solve(self)) if solve else self.step(batches)
                done = self.counters.step
                if pace:
                    pace.stepped(self)
                evaluates = self.plan.evaluates(done)
                if evaluates:
                    self.require_finite()
                    self.evaluate(evaluate, recorder)
                elif stop.name is None and time.monotonic() - saved < self.recipe.save_minutes * 60:
                    continue
                recorder.keep_state(self)
                saved = time.monotonic()
                if pace and evaluates:
                    pace.evaluated(self)
                if stop.name is not None and done < self.planned_steps:
                    raise Stopped(
                        f"stopped by {stop.name} after step {done} of {self.planned_steps}; the state is saved"
                    )

    @property
    def planned_steps(self) -> int:
        """Steps of the whole run, as planned now."""
        return self.plan.at(self.counters.step).steps

    def size_at(self, step: int) -> tuple[int, int]:
        """Image size (height, width) in pixels at a step."""
        place, steps = self.plan.position(step)
        return self.small_size if place < SMALL_PART * steps else self.image_size

    @property
    def moment(self) -> Moment:
        """Steps done, and the fraction of the schedule that they are."""
        return Moment(self.counters.step, self.plan.fraction(self.counters.step))

    def batches(self) -> Iterator[Batch]:
        """Iterate over the batches from the current step on."""
        return self.loader.batches(self.counters.step * self.recipe.accumulate)

    def step(self, batches: Iterator[Batch]) -> None:
        """Do one optimiser step."""
        self._stepped(self._optimise(batches))

    def _stepped(self, losses: dict[str, float]) -> None:
        """Count a step with these mean losses."""
        self.objective.after_step(self.moment)
        self.counters.step += 1
        self.counters.add(losses)
        if self.ema:
            self.ema.update(self.objective.trained(), self.counters.step - 1)

    def _optimise(self, batches: Iterator[Batch]) -> dict[str, float]:
        """Update the weights by the gradients of one or several batches; the mean losses."""
        step, recipe = self.counters.step, self.recipe
        train_mode(self.objective)
        totals: dict[str, float] = {}
        for part in range(recipe.accumulate):
            batch = next(batches)
            torch.manual_seed(derive(recipe.seed, "step", step, part))
            for name, value in self._learn_from(batch, step).items():
                totals[name] = totals.get(name, 0.0) + value
        self._update()
        return {name: total / recipe.accumulate for name, total in totals.items()}

    def evaluate(self, evaluate: Evaluate, recorder: Recorder) -> None:
        """Evaluate the model, log the result, and keep the weights if they are the best so far."""
        counters = self.counters
        micro = counters.step * self.recipe.accumulate
        self._settled = self.settle(self, self.evaluated) if self.settle else None
        quality, measured = evaluate(self)
        row = {
            "epoch": round(micro / len(self.loader), 4),
            "step": counters.step,
            "lr": self.lr,
            **{f"train_{name}": mean for name, mean in counters.means().items()},
            **measured,
        }
        best = self._judge(quality)
        counters.forget_losses()
        recorder.record(row, counters)
        if best:
            recorder.keep_best(self.evaluated, row)
        self._settled = None

    def require_finite(self) -> None:
        """Raise Diverged if a weight, or another tensor of the state, is not finite: it is not evaluated or saved."""
        name, step = not_finite(self.objective, self.optimizers, self.ema), self.counters.step
        if name is not None and not step:
            raise Diverged(f"{name} is not finite before the first step: start from other weights")
        if name is not None:
            raise Diverged(f"{name} is not finite after step {step}. {self._smaller_lr()}")

    def placed(self, batch: Batch, size: tuple[int, int]) -> Batch:
        """Move a batch to the device and resize its images; views smaller than the model's size stay as they are."""

        def place(pixels: Tensor) -> Tensor:
            placed = on_device(pixels, self.device)
            return shrink_batch(placed, size) if tuple(pixels.shape[-2:]) == self.image_size else placed

        targets = tree_map_only(Tensor, lambda tensor: tensor.to(self.device, non_blocking=True), batch.targets)
        return replace(batch, pixels=tree_map_only(Tensor, place, batch.pixels), targets=targets)

    def _judge(self, quality: float | None) -> bool:
        """Whether to keep the weights; always if no quality is defined."""
        counters = self.counters
        if quality is None:
            counters.best_step = counters.step
            return True
        better = counters.best is None or quality > counters.best
        counters.stale = 0 if better else counters.stale + 1
        # At equal quality the later weights are kept: they were trained longer, at a lower learning rate.
        best = better or quality == counters.best
        if best:
            counters.best, counters.best_step = quality, counters.step
        return best

    def _learn_from(self, batch: Batch, step: int) -> dict[str, float]:
        """Accumulate the gradients of a batch; return its loss as "loss", and the loss's parts."""
        with reduced_precision(self.device, self.precision):
            loss: Loss = self.objective(self.placed(batch, self.size_at(step)), self.moment)
        value = loss.total.item()
        if not math.isfinite(value):
            raise Diverged(self._divergence(value, batch, step))
        self.scaler.scale(loss.total / self.recipe.accumulate).backward()
        return {"loss": value, **{name: part.item() for name, part in loss.parts.items()}}

    def _update(self) -> None:
        recipe = self.recipe
        factor = scheduled_factor(
            self.plan,
            self.counters.step,
            warmup=recipe.warmup,
            steps_per_epoch=len(self.loader) / recipe.accumulate,
            schedule=recipe.schedule,
            final=recipe.final_lr,
        )
        set_lr(self.optimizers, factor)
        self.lr = self.optimizers[0].param_groups[0]["lr"]
        for optimizer in self.optimizers:
            self.scaler.unscale_(optimizer)
        if recipe.clip:
            nn.utils.clip_grad_norm_([p for p in self.objective.parameters() if p.grad is not None], recipe.clip)
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)
        self.scaler.update()

    def _remaining(self) -> Iterator[int]:
        while self.counters.step < self.planned_steps and not self._out_of_patience():
            yield self.counters.step

    def _out_of_patience(self) -> bool:
        return self.recipe.patience is not None and self.counters.stale >= self.recipe.patience

    def _divergence(self, value: float, batch: Batch, step: int) -> str:
        files = [self.names[index] for index in batch.indices]
        shown = ", ".join(files[:8]) + (f" and {len(files) - 8} more" if len(files) > 8 else "")
        where = f"at step {step + 1}, on the batch {shown}"
        return f"the loss is {value} {where}. {self._smaller_lr()}, or look at these files"

    def _smaller_lr(self) -> str:
        recipe = self.recipe
        rates = {"lr": chosen(recipe.lr), **({"muon_lr": chosen(recipe.muon_lr)} if recipe.optimizer == "muon" else {})}
        settings = " ".join(f"--set {name}={rate / 3:.2g}" for name, rate in rates.items())
        float32 = "" if self.precision == torch.float32 else " or --precision float32"
        longer = isinstance(recipe.warmup, str) or recipe.warmup < 0.2
        warmup = f" or a longer warmup than {recipe.warmup}" if longer else ""
        return f"Use a third of the learning rate ({settings}){warmup}{float32}"
