"""From a recipe and a data set to a trainer that is ready for its first step."""

import copy
from dataclasses import dataclass, replace

import torch
from torch import nn

from ..checkpoint.contract import Checkpoint, load
from ..data.augment import batch_mix, image_transform, takes_fitted
from ..data.loader import EvalLoader, TrainLoader
from ..data.preprocess import Preprocess
from ..data.seeds import derive
from ..inference.metrics import Evaluation, score
from ..models.parts import pair
from ..models.registry import canonical_name, create_model, model_config
from ..nn.encoder import checkpoint_activations
from ..objectives.supervised import Supervised, balanced_weights
from ..planning.machine import pick_device, pick_precision
from .channels import channel_statistics
from .choose import Situation, choose
from .dataset import Dataset, Part, memory_for_images
from .optimizer import freeze, make_optimizers
from .recipe import Recipe
from .trainer import Row, Trainer


@dataclass
class Workshop:
    """All that a run needs: the recipe without open fields but `steps`, the data, the model as a checkpoint, and where it runs."""

    recipe: Recipe
    data: Dataset
    checkpoint: Checkpoint
    device: torch.device
    precision: torch.dtype

    def __post_init__(self) -> None:
        # Workers would each keep images of their own, and lose them at the end of every epoch.
        memory, data = 0 if self.recipe.workers else memory_for_images(), self.data
        train = data.train.fitted_reader if takes_fitted(self.recipe.augment) else data.train.shrunk_reader
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
        model = copy.deepcopy(self.checkpoint.model).to(self.device, memory_format=torch.channels_last)
        freeze(model, recipe.freeze)
        if recipe.checkpoint_activations:
            checkpoint_activations(model)
        weights = balanced_weights(self.data.counts, recipe.balance)
        return Trainer(
            model,
            Supervised(self.data.task, label_smoothing=recipe.label_smoothing, class_weights=weights),
            self.train_loader(),
            batch_mix(recipe.augment, len(self.data.class_names)),
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
            image_transform(recipe.augment, self.preprocess),
            self.preprocess,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            workers=recipe.workers,
        )

    def logits(self, model: nn.Module, split: str, part: Part) -> torch.Tensor:
        """(n, K) float32 of a split, as the model in use would give them."""
        loader = EvalLoader(
            self._readers[split],
            len(part),
            self.preprocess,
            batch_size=max(64, self.recipe.batch_size),
            workers=self.recipe.workers,
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
    names = ("loss", "top1", "top5", "ece", "mean_average_precision", "micro_f1", "subset_accuracy")
    if len(result.per_class) <= 5:
        names = tuple(name for name in names if name != "top5")
    return {name: getattr(result, name) for name in names if getattr(result, name) is not None}


def assemble(recipe: Recipe, data: Dataset) -> Workshop:
    """Choose what the recipe leaves open, build or load the model, and bring everything together."""
    device = pick_device(recipe.device)
    pretrained = load(recipe.weights) if recipe.weights else None
    recipe = choose(recipe, _situation(data, device, pretrained), _variant_size(recipe))
    size = pair(recipe.image_size)
    if pretrained:
        checkpoint = _adapted(recipe, data, pretrained)
    else:
        checkpoint = _fresh(recipe, data)
    recipe = replace(recipe, image_size=size, workers=_workers(recipe, data, checkpoint.preprocess))
    precision = pick_precision(recipe.precision, device)
    recipe = replace(recipe, precision=str(precision).removeprefix("torch."), device=device.type)
    return Workshop(recipe, data, checkpoint, device, precision)


def _situation(data: Dataset, device: torch.device, pretrained: Checkpoint | None) -> Situation:
    return Situation(
        train=len(data.train),
        classes=len(data.class_names),
        side=data.side,
        channels=data.channels,
        gpu=device.type == "cuda",
        pretrained_size=pretrained.preprocess.image_size if pretrained else None,
    )


def _variant_size(recipe: Recipe) -> tuple[int, int] | None:
    return pair(model_config(recipe.model).image_size) if recipe.model else None


def _changes(recipe: Recipe) -> dict[str, object]:
    rates = {"drop_path": recipe.drop_path, "dropout": recipe.dropout}
    return {**{name: rate for name, rate in rates.items() if rate}, **recipe.overrides}


def _fresh(recipe: Recipe, data: Dataset) -> Checkpoint:
    torch.manual_seed(derive(recipe.seed, "weights"))
    model = create_model(
        recipe.model,
        num_classes=len(data.class_names),
        image_size=recipe.image_size,
        in_channels=data.channels,
        **_changes(recipe),
    )
    mean, std = channel_statistics(data.train.reader(data.channels), len(data.train), recipe.seed)
    preprocess = Preprocess(
        image_size=recipe.image_size,
        crop=1.0 if min(recipe.image_size) <= 64 else 0.9,
        interpolation="bilinear" if min(recipe.image_size) <= 64 else "bicubic",
        mean=mean,
        std=std,
        channels=data.channels,
    )
    info = {"architecture": canonical_name(recipe.model), "origin": f"trained from fresh weights on {data.name}"}
    return Checkpoint(model, data.class_names, preprocess, {**info, "task": data.task, "adapted": []})


def _adapted(recipe: Recipe, data: Dataset, pretrained: Checkpoint) -> Checkpoint:
    """The checkpoint to start from, with a head for these classes and positions for this image size."""
    interchangeable = {data.channels, pretrained.preprocess.channels} <= {1, 3}
    channels = pretrained.preprocess.channels if interchangeable else data.channels
    torch.manual_seed(derive(recipe.seed, "weights"))
    changes = {"image_size": recipe.image_size, **_changes(recipe)}
    if channels != pretrained.preprocess.channels:
        changes["in_channels"] = channels
    if data.class_names != pretrained.class_names:
        changes["num_classes"] = len(data.class_names)
    loaded = load(recipe.weights, **changes)
    info = {**loaded.info, "origin": f"fine-tuned from {recipe.weights} on {data.name}", "task": data.task}
    return Checkpoint(loaded.model, data.class_names, loaded.preprocess, info)


def _workers(recipe: Recipe, data: Dataset, preprocess: Preprocess) -> int:
    """None where decoded images stay in memory or the device is the CPU, which the workers would take from the model."""
    if recipe.workers is not None:
        return recipe.workers
    return 0 if recipe.device == "cpu" or not torch.cuda.is_available() else 4
