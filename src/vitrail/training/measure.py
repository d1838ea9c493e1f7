"""Evaluation of a run on a split: by the task's metrics, or by the objective's loss."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from ..data.seeds import derive
from ..engines.precision import reduced_precision
from ..engines.predictor import Predictor
from ..engines.torch_engine import TorchEngine
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel, EmbeddingModel
from ..tasks.outcomes import Evaluation, Metrics
from ..tasks.placed import PlacedTask
from ..tasks.worth import Baseline, percent_interval, wilson
from .feature_quality import FeatureQuality, feature_quality
from .loop import LogRow, Trainer
from .recipe import chosen
from .setup import RunSetup

BATCH_SIZE = 32
"""Batch size in evaluation: the same as in `vitrail eval`, so that both give equal numbers."""


_CLEARLY_BELOW = 0.95
"""Fraction of the loss of a trivial prediction from which a model has hardly learned anything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossEvaluation(Evaluation):
    """The objective's loss on held-out images.

    Attributes:
        parts: its named parts.
        features: quality of the embeddings; None if it was not measured.
        trivial: a prediction that needs no training, in words; "" if none is known.
        trivial_loss: its loss.
    """

    parts: dict[str, float] = field(default_factory=dict)
    features: FeatureQuality | None = None
    trivial: str = ""
    trivial_loss: float = 0.0

    @property
    def quality(self) -> float:
        """The accuracy of kNN, if it was measured; else minus the loss."""
        return -self.loss if self.knn_top1 is None else self.knn_top1

    @property
    def knn_top1(self) -> float | None:
        """The accuracy of kNN; None if it was not measured."""
        return None if self.features is None else self.features.knn_top1

    def headline(self) -> dict[str, float]:
        found = {"loss": self.loss, **self.parts}
        if self.features is not None:
            found |= {"rank": self.features.rank, "spread": self.features.spread}
        return found if self.knn_top1 is None else {**found, "knn_top1": self.knn_top1}

    def facts(self) -> list[tuple[str, str]]:
        losses = {"loss": self.loss, **({f"loss of {self.trivial}": self.trivial_loss} if self.trivial else {})}
        found = [(name, f"{value:.4g}") for name, value in {**losses, **self.parts}.items()]
        if self.features is None:
            return found
        if self.knn_top1 is not None:
            interval = wilson(round(self.knn_top1 * self.features.knn_count), self.features.knn_count)
            found.insert(0, ("kNN accuracy", f"{100 * self.knn_top1:.1f} % ({percent_interval(interval)})"))
        return [*found, ("effective rank", f"{self.features.rank:.3g}"), ("spread", f"{self.features.spread:.3g}")]

    def baseline(self) -> Baseline | None:
        """A prediction that needs no training."""
        if not self.trivial:
            return None
        model: Literal["better", "hardly better", "no better"] = "no better"  # also if the loss is not a number
        if self.loss < self.trivial_loss:
            model = "better" if self.loss < _CLEARLY_BELOW * self.trivial_loss else "hardly better"
        return Baseline(answer=self.trivial, value=f"loss {self.trivial_loss:.4g}", model=model)

    def cautions(self) -> list[str]:
        words = self.features.caution if self.features else ""
        return [*Evaluation.cautions(self), *([words] if words else [])]

    def card_metrics(self) -> dict[str, float]:
        return {"loss": self.loss, **({} if self.knn_top1 is None else {"knn_accuracy": self.knn_top1})}

    def to_dict(self) -> dict[str, Any]:
        found = asdict(self)
        if not self.trivial:
            del found["trivial"], found["trivial_loss"]
        return found


@dataclass
class Judge:
    """Evaluates a trainer on the validation split.

    Attributes:
        setup: the run.
        step: steps done at the last evaluation; None before the first.
        scored: result of that evaluation, if the task judges the run.
    """

    setup: RunSetup
    step: int | None = None
    scored: "Scored | None" = None

    def __call__(self, trainer: Trainer) -> tuple[float | None, LogRow]:
        """Quality on the validation split, and its columns in the metric log."""
        setup, self.step = self.setup, trainer.counters.step
        if setup.by_task:
            self.scored = score(setup, trainer.evaluated, "val")
            found = self.scored.found
        else:
            found = with_features(setup, trainer.evaluated, "val", evaluate_loss(setup, trainer, "val"))
        by_last = setup.objective_config.quality == "last" and setup.knn is None
        return None if by_last else found.quality, {f"val_{key}": value for key, value in found.headline().items()}

    def best(self, trainer: Trainer) -> "Scored | None":
        """Result of the best weights; None if the best evaluation was not the last one."""
        return self.scored if self.step is not None and self.step == trainer.counters.best_step else None


def predictor_of(setup: RunSetup, model: BaseVisionModel[ModelConfig]) -> Predictor:
    """Predictor of the run's task, as in all other commands."""
    task = setup.task_for(model)
    run = EmbeddingModel(model) if task.by_vectors else model
    engine = TorchEngine(run, str(setup.device), chosen(setup.recipe.precision))
    return Predictor(engine, setup.preprocess, task, setup.data.names, batch_size=BATCH_SIZE)


def outputs(setup: RunSetup, model: BaseVisionModel[ModelConfig], split: str) -> Any:
    """Outputs of the model for each image of a split; float32 on the CPU."""
    found = predictor_of(setup, model).outputs(setup.eval_loader(split, BATCH_SIZE))
    return tree_map(lambda *tensors: torch.cat(tensors), *found)


@dataclass(frozen=True, slots=True)
class Scored:
    """Evaluation of a model on a split by the task's metrics.

    Attributes:
        found: the evaluation.
        metrics: the task's metrics, after all images.
        output: outputs for all images; None if the task keeps none.
        errors: size of the error of each image; None if the task keeps outputs.
    """

    found: Evaluation
    metrics: Metrics | None = None
    output: Any = None
    errors: Tensor | None = None


def score(setup: RunSetup, model: BaseVisionModel[ModelConfig], split: str) -> Scored:
    """Evaluate the model on a split by the task's metrics."""
    task, names = setup.task_for(model), setup.data.names
    if not isinstance(task, PlacedTask):
        output = outputs(setup, model, split)
        metrics = task.metrics(names)
        metrics.update(output, task.targets(setup.part(split).samples, names))
        return Scored(metrics.compute(), metrics, output)
    metrics, samples, errors = task.metrics(names), setup.part(split).samples, [torch.zeros(0)]
    for output in predictor_of(setup, model).outputs(setup.eval_loader(split, BATCH_SIZE)):
        start = sum(map(len, errors))
        target = task.targets(samples[start : start + len(tree_leaves(output)[0])], names)
        metrics.update(output, target)
        errors.append(task.errors(output, target))
    return Scored(metrics.compute(), metrics, errors=torch.cat(errors))


def evaluate_loss(setup: RunSetup, trainer: Trainer, split: str) -> LossEvaluation:
    """Mean loss of the evaluated weights over a split, with the same random numbers each time."""
    totals: dict[str, float] = {}
    answer, trivial_loss = "", 0.0
    count, objective = 0, trainer.objective.eval()
    reduced = reduced_precision(setup.device, setup.precision)
    with evaluated_weights(trainer), torch.random.fork_rng(), torch.inference_mode(), reduced:
        for number, batch in enumerate(setup.validation_loader(split, BATCH_SIZE).once()):
            torch.manual_seed(derive(setup.recipe.seed, "validation", number))
            placed = trainer.placed(batch, trainer.image_size)
            loss, size, trivial = objective(placed, trainer.moment), len(batch.indices), objective.trivial(placed)
            count += size
            if trivial is not None:
                answer, trivial_loss = trivial.answer, trivial_loss + size * trivial.loss.item()
            for name, value in {"loss": loss.total, **loss.parts}.items():
                totals[name] = totals.get(name, 0.0) + size * value.item()
    means = {name: total / max(1, count) for name, total in totals.items()}
    loss = means.pop("loss", float("nan"))
    return LossEvaluation(
        count=count, loss=loss, parts=means, trivial=answer, trivial_loss=trivial_loss / max(1, count)
    )


def with_features(
    setup: RunSetup, model: BaseVisionModel[ModelConfig], split: str, found: LossEvaluation
) -> LossEvaluation:
    """The evaluation with the quality of the model's features, if the objective uses no labels."""
    if setup.objective_config.tasks:
        return found
    return replace(found, features=feature_quality(setup, model, split))


@contextmanager
def evaluated_weights(trainer: Trainer) -> Iterator[None]:
    """Context manager in which the objective's model is the one that is evaluated and saved.

    That is the moving average, or the weights with batch norm statistics of their own. An objective that saves another
    model than the one that learns (DINO's teacher) keeps both.
    """
    learning = trainer.objective.model
    if trainer.objective.trained() is learning:
        trainer.objective.model = trainer.evaluated
    elif trainer.ema:
        trainer.objective.model = trainer.ema.model
    try:
        yield
    finally:
        trainer.objective.model = learning
