"""From a recipe and a data set to a trainer that is ready for its first step."""

import copy
import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from ..checkpoint.build import blueprint
from ..checkpoint.contract import Checkpoint, load
from ..data.augment import batch_mix, image_transform, takes_fitted
from ..data.loader import EvalLoader, TrainLoader
from ..data.preprocess import Preprocess
from ..data.seeds import derive
from ..evaluation.metrics import Evaluation, score
from ..machine.facts import PRECISIONS, pick_device, pick_precision
from ..models.fields import check_can_classify, pair
from ..models.registry import canonical_name, create_model, model_config
from ..nn import checkpoint_activations, init_vit
from ..objectives.supervised import Supervised, balanced_weights
from ..planning.flops import count
from ..planning.stride import stride_of
from ..task_spec import CLASSIFICATION, MULTI_LABEL, TaskSpec
from .channels import channel_statistics
from .choose import Situation, choose
from .dataset import Dataset, Part, memory_for_images
from .optimizer import freeze, make_optimizers, muon_flops
from .recipe import Recipe, settled
from .trainer import Row, Trainer

_LEAST_SIDE = 32
"""Two patches of 16 a side: digits of 8 pixels were learned better so than on four, see LOG.md."""

_DEAREST_MUON = 4.0
"""A step of Muon is worth several of AdamW, but its cost grows with the width cubed and not with the batch."""


@dataclass
class Workshop:
    """All that a run needs: recipe (open only in `steps`), data, the model as a checkpoint, and where it runs."""

    recipe: Recipe
    data: Dataset
    checkpoint: Checkpoint
    device: torch.device
    precision: torch.dtype

    def __post_init__(self) -> None:
        # Workers would each keep images of their own, and lose them at the end of every epoch.
        memory, data = 0 if self.recipe.workers else memory_for_images(), self.data
        train = data.train.fitted_reader if takes_fitted(settled(self.recipe.augment)) else data.train.shrunk_reader
        self._readers = {
            "train": train(self.preprocess, memory // 2),
            "val": data.val.fitted_reader(self.preprocess, memory // 4),
            "test": data.test.fitted_reader(self.preprocess, memory // 4),
        }

    @property
    def preprocess(self) -> Preprocess:
        return self.checkpoint.preprocess

    def trainer(self, recipe: Recipe) -> Trainer:
        """A trainer of a fresh copy of the model; called twice, it gives two independent runs."""
        model = copy.deepcopy(self.checkpoint.model)
        model.to(self.device).to(memory_format=torch.channels_last)
        freeze(model, recipe.freeze)
        if recipe.checkpoint_activations:
            checkpoint_activations(model)
        weights = balanced_weights(self.data.counts, recipe.balance)
        return Trainer(
            model,
            Supervised(self.data.task, label_smoothing=recipe.label_smoothing, class_weights=weights),
            self.train_loader(),
            batch_mix(settled(recipe.augment), len(self.data.class_names)),
            recipe,
            precision=self.precision,
            optimizers=make_optimizers(model, recipe),
            names=self.data.train.names,
        )

    def train_loader(self) -> TrainLoader:
        """The augmented training batches."""
        recipe = self.recipe
        return TrainLoader(
            self._readers["train"],
            self.data.train.targets,
            image_transform(settled(recipe.augment), self.preprocess),
            self.preprocess,
            batch_size=settled(recipe.batch_size),
            seed=recipe.seed,
            workers=settled(recipe.workers),
        )

    def logits(self, model: nn.Module, split: str, part: Part) -> torch.Tensor:
        """(n, K) float32 of a split, as the model in use would give them."""
        loader = EvalLoader(
            self._readers[split],
            len(part),
            self.preprocess,
            batch_size=max(64, settled(self.recipe.batch_size)),
            workers=settled(self.recipe.workers),
        )
        model.eval()
        reduced = self.precision != torch.float32
        rows = []
        with torch.inference_mode(), torch.autocast(self.device.type, self.precision, enabled=reduced):
            for pixels in loader:
                rows.append(model(pixels.to(self.device, memory_format=torch.channels_last)).float().cpu())
        return torch.cat(rows)

    def evaluate(self, model: nn.Module) -> tuple[float, Row]:
        """Quality on the validation split, and its columns in the metric log."""
        result = self.evaluation(model, "val", self.data.val)
        return result.quality, {f"val_{key}": value for key, value in headline(result).items()}

    def evaluation(self, model: nn.Module, split: str, part: Part) -> Evaluation:
        """Everything that is measured on a split."""
        return score(self.logits(model, split, part), part.labels, self.data.class_names, self.data.task)


def headline(result: Evaluation) -> dict[str, float]:
    """The few numbers that a run is known by; top-5 only where there are more than five classes."""
    names = ["loss", "top1", "ece", "mean_average_precision", "micro_f1", "subset_accuracy"]
    if len(result.per_class) > 5:
        names.insert(2, "top5")
    return {name: getattr(result, name) for name in names if getattr(result, name) is not None}


def assemble(recipe: Recipe, data: Dataset) -> Workshop:
    """Choose what the recipe leaves open, build or load the model, and bring everything together."""
    device = pick_device(recipe.device)
    pretrained = load(recipe.weights) if recipe.weights else None
    if pretrained:
        check_can_classify(pretrained.model.config, str(recipe.weights))
    recipe = _chosen(recipe, data, _situation(data, device, pretrained))
    checkpoint = _adapted(recipe, data, pretrained) if pretrained else _fresh(recipe, data)
    precision = pick_precision(recipe.precision, device)
    # What "auto" meant is written down: another machine goes on with the same.
    words: dict[torch.dtype, Any] = {dtype: word for word, dtype in PRECISIONS.items()}
    recipe = replace(recipe, precision=words[precision], workers=_workers(recipe, device))
    return Workshop(recipe, data, checkpoint, device, precision)


def _chosen(recipe: Recipe, data: Dataset, situation: Situation) -> Recipe:
    """The recipe with its open fields filled; a Muon that nobody asked for only where its steps are not too dear."""
    size = _variant_size(recipe, data.side)
    chosen = choose(recipe, situation, size)
    if recipe.optimizer or chosen.optimizer != "muon":
        return chosen
    shape = {"image_size": chosen.image_size, "num_classes": situation.classes, "in_channels": situation.channels}
    config = model_config(settled(chosen.model), **{**_tuples(recipe.overrides), **shape})
    work = 3 * count(config.densest()).flops * settled(chosen.batch_size)
    if muon_flops(blueprint(config.densest())) <= _DEAREST_MUON * work:
        return chosen
    return choose(replace(recipe, optimizer="adamw"), situation, size)


def _situation(data: Dataset, device: torch.device, pretrained: Checkpoint | None) -> Situation:
    return Situation(
        train=len(data.train),
        classes=len(data.class_names),
        side=data.side,
        channels=data.channels,
        gpu=device.type == "cuda",
        pretrained_size=pretrained.preprocess.image_size if pretrained else None,
    )


def _variant_size(recipe: Recipe, side: int) -> tuple[int, int] | None:
    """The size of the variant that the user named, or a smaller one that holds all detail of small pictures."""
    if not recipe.model:
        return None
    config = model_config(recipe.model)
    check_can_classify(config, recipe.model)
    height, width = pair(config.image_size)
    stride = max(stride_of(config))
    enough = math.ceil(max(_LEAST_SIDE, 2 * stride, side) / stride) * stride
    return (height, width) if height != width else (min(height, enough), min(width, enough))


def _changes(recipe: Recipe) -> dict[str, Any]:
    rates = {"drop_path": recipe.drop_path, "dropout": recipe.dropout}
    return {**{name: rate for name, rate in rates.items() if rate}, **_tuples(recipe.overrides)}


def _tuples(value: Any) -> Any:
    """YAML's lists as the tuples that configs are made of."""
    if isinstance(value, dict):
        return {key: _tuples(inner) for key, inner in value.items()}
    return tuple(_tuples(inner) for inner in value) if isinstance(value, (list, tuple)) else value


def _fresh(recipe: Recipe, data: Dataset) -> Checkpoint:
    torch.manual_seed(derive(recipe.seed, "weights"))
    name = settled(recipe.model)
    assert recipe.image_size is not None
    size = pair(recipe.image_size)
    fixed = {
        "num_classes": len(data.class_names),
        "image_size": size,
        "in_channels": data.channels,
        "task": _task(data),
    }
    model = create_model(name, **{**_changes(recipe), **fixed})
    mean, std = channel_statistics(data.train.reader(data.channels), len(data.train), recipe.seed)
    preprocess = Preprocess(
        image_size=size,
        crop=1.0 if min(size) <= 64 else 0.9,
        interpolation="bilinear" if min(size) <= 64 else "bicubic",
        mean=mean,
        std=std,
        channels=data.channels,
    )
    info = {
        "architecture": canonical_name(name),
        "origin": f"trained from fresh weights on {data.name}",
    }
    return Checkpoint(model, data.class_names, preprocess, {**info, "adapted": []})


def _adapted(recipe: Recipe, data: Dataset, pretrained: Checkpoint) -> Checkpoint:
    """The checkpoint to start from, with a head for these classes and positions for this image size."""
    interchangeable = {data.channels, pretrained.preprocess.channels} <= {1, 3}
    channels = pretrained.preprocess.channels if interchangeable else data.channels
    torch.manual_seed(derive(recipe.seed, "weights"))
    changes = {**_changes(recipe), "image_size": recipe.image_size, "task": _task(data)}
    if channels != pretrained.preprocess.channels:
        changes["in_channels"] = channels
    other_classes = data.class_names != pretrained.class_names
    if other_classes:
        changes["num_classes"] = len(data.class_names)
    loaded = load(settled(recipe.weights), **changes)
    if other_classes:
        loaded.model.head.apply(init_vit)  # as many classes as before may still be others
    info = {**loaded.info, "origin": f"fine-tuned from {recipe.weights} on {data.name}"}
    return Checkpoint(loaded.model, data.class_names, loaded.preprocess, info)


def _task(data: Dataset) -> TaskSpec:
    return MULTI_LABEL if data.task == "multi" else CLASSIFICATION


def _workers(recipe: Recipe, device: torch.device) -> int:
    """None on a CPU, where workers would take from the model what they give to the data."""
    if recipe.workers is not None:
        return recipe.workers
    return 0 if device.type == "cpu" else 4
