"""RunSetup: recipe, data, model and device of a run, from which its parts are built."""

import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from hashlib import blake2b

import torch
from torch import Tensor

from ..checkpoint.contract import Checkpoint
from ..data.augment import alternating_flip, takes_fitted
from ..data.augment_options import Augment
from ..data.loader import EvalLoader, OneView, Read, TrainLoader
from ..data.memory import remember
from ..data.preprocess import Preprocess
from ..data.seeds import derive, permutation
from ..data.targets import Targets
from ..engines.precision import on_device, place_model, reduced_precision
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel, checkpoint_activations
from ..objectives.augmentation import Augmentation, Transform
from ..objectives.objective import Labels, Objective, ObjectiveConfig
from ..planning.flops import count
from ..tasks.task import Task
from .batch_statistics import STATISTICS_IMAGES, norms_with_statistics, updated_norms, with_statistics
from .choose import SLOW_CPU, SLOW_GPU
from .knn_images import KnnImages
from .loop import Trainer
from .optimizer import freeze, freeze_for_lora, make_optimizers
from .patch_dropout import add_patch_dropout
from .recipe import Recipe, chosen, timed
from .step_plan import StepPlan
from .training_data import SplitData, TrainingData, memory_for_images

_EVALUATING = 0.05
"""Fraction of a time budget for evaluating a split once."""

_KNN_BATCH = 32
"""Batch size of images for kNN, as in all evaluations."""

_FEWEST_EVALUATED = 100
"""Fewer images than this measure too little, whatever they cost."""


@dataclass(frozen=True)
class RunSetup:
    """Recipe, data, model and device of a run.

    Attributes:
        recipe: all fields are chosen, except `steps` and `evaluate_every` under a time budget.
        data: the surveyed and split source.
        checkpoint: the initial model with config, class names and preprocessing.
        device: device of the model.
        precision: number format of the matrix products.
        transform: augmentation given by the user, image (C, H, W) -> image, in place of the recipe's; or None.
        knn: labelled images on which kNN measures a pre-training; or None.
    """

    recipe: Recipe
    data: TrainingData
    checkpoint: Checkpoint
    device: torch.device
    precision: torch.dtype
    transform: Transform | None = None
    knn: KnnImages | None = None

    @property
    def preprocess(self) -> Preprocess:
        """The preprocessing, image -> pixels."""
        return self.checkpoint.preprocess

    @property
    def objective_config(self) -> ObjectiveConfig:
        """The config of the objective."""
        return chosen(self.recipe.objective)

    @property
    def by_task(self) -> bool:
        """Whether the best checkpoint is chosen by the task's metrics."""
        return self.objective_config.quality == "task"

    @cached_property
    def readers(self) -> dict[str, Read]:
        """Function index -> image for each split; images are kept in memory if all fit."""
        # Each worker would keep its own copies of images, and lose them at the end of every epoch.
        memory, data = 0 if self.recipe.workers else memory_for_images(), self.data
        fitted = self.transform is None and takes_fitted(chosen(self.recipe.augment))
        whole = partial(data.train.fitted_reader, all_frames=True)
        train = whole if fitted else data.train.shrunk_reader
        return {
            "train": train(self.preprocess, memory // 2),
            "val": self.part("val").fitted_reader(self.preprocess, memory // 4),
            "test": self.part("test").fitted_reader(self.preprocess, memory // 4),
        }

    def trainer(self, plan: StepPlan) -> Trainer:
        """Build a trainer with a copy of the initial model; two calls give two independent runs.

        Args:
            plan: number of steps and evaluations.
        """
        recipe = self.recipe
        model = place_model(copy.deepcopy(self.checkpoint.model), self.device)
        if recipe.lora is not None:
            freeze_for_lora(model)
        freeze(model, recipe.freeze)
        add_patch_dropout(model, recipe.patch_dropout)
        if recipe.checkpoint_activations:
            checkpoint_activations(model)
        objective = self.objective(model)
        return Trainer(
            objective,
            self.train_loader(),
            recipe,
            precision=self.precision,
            optimizers=make_optimizers(objective, recipe),
            names=self.data.train.names,
            plan=plan,
            settle=self.settle,
        )

    def settle(self, trainer: Trainer, model: BaseVisionModel[ModelConfig]) -> BaseVisionModel[ModelConfig]:
        """Return the model with batch norm statistics of its own weights, on training images.

        They are augmented, as in training, if the objective learns from one view with labels: with the statistics of
        whole images, in which objects are smaller than in random crops, the boxes of a detector were too large, see
        LOG.md. A model whose training updates none is returned as it is.
        """
        norms = updated_norms(trainer.model)
        if not norms:
            return model
        with reduced_precision(self.device, self.precision):
            return with_statistics(model, norms, self._statistics_batches())

    def _statistics_batches(self) -> Iterator[Tensor]:
        read = self._statistics_reader
        size = min(chosen(self.recipe.batch_size), STATISTICS_IMAGES)
        chosen_images = self._statistics_images
        for start in range(0, max(1, len(chosen_images) - size + 1), size):
            images = torch.stack([read(index) for index in range(start, min(start + size, len(chosen_images)))])
            yield on_device(self.preprocess.normalise(images), self.device)

    @property
    def statistics_count(self) -> int:
        """Number of images on which batch norm statistics are computed at an evaluation."""
        return len(self._statistics_images) if norms_with_statistics(self.checkpoint.model) else 0

    @cached_property
    def _statistics_images(self) -> list[int]:
        order = permutation(len(self.data.train), derive(self.recipe.seed, "batch statistics"))
        return order[: min(STATISTICS_IMAGES, self.most_evaluated or STATISTICS_IMAGES)]

    @cached_property
    def _statistics_reader(self) -> Read:
        loader = self.train_loader() if self.objective_config.tasks else None

        def read(number: int) -> Tensor:
            index = self._statistics_images[number]
            views = None if loader is None else loader.views(index)
            return views if isinstance(views, Tensor) else self.preprocess.fit(self.readers["train"](index))

        sides = self.preprocess.image_size
        count = len(self._statistics_images)
        size = 4 * self.preprocess.channels * (self.preprocess.frames or 1) * sides[0] * sides[1]
        return remember(read, [size] * count, memory_for_images())

    def objective(self, model: BaseVisionModel[ModelConfig]) -> Objective:
        """The objective around a model, on the device."""
        return self.objective_config.build(model, self.labels).to(self.device)

    @cached_property
    def labels(self) -> Labels | None:
        """Labels of the training samples; None if the source has none."""
        data = self.data
        if data.task is None:
            return None
        return Labels(data.task, data.names, data.train.samples, self.preprocess, self._augmented_images())

    def _augmented_images(self) -> str | None:
        """Digest of what determines the augmented training images; None if a function of the user's augments them."""
        if self.transform is not None:
            return None
        known = [asdict(chosen(self.recipe.augment)), self.preprocess.to_dict(), self.recipe.seed]
        digests = [facts.digest for facts in self.data.train.facts]
        return blake2b(repr([known, digests]).encode(), digest_size=16).hexdigest()

    def train_loader(self) -> TrainLoader:
        """The augmented training batches."""
        recipe, augment = self.recipe, chosen(self.recipe.augment)
        labels = self.labels if self.objective_config.tasks else None
        return TrainLoader(
            self.readers["train"],
            len(self.part("train")),
            self._targets("train"),
            self.objective_config.views(self._augmentation(augment)),
            self.preprocess,
            batch_size=chosen(recipe.batch_size),
            seed=recipe.seed,
            workers=chosen(recipe.workers),
            before=None if self.transform else alternating_flip(augment, recipe.seed),
            repeats=augment.repeats,
            weights=None if labels is None else self.objective_config.sample_weights(labels),
            cycle=self.objective_config.augmented_epochs(),
        )

    def validation_loader(self, split: str, batch_size: int) -> TrainLoader:
        """Batches of a split for the objective, without augmentation."""
        return TrainLoader(
            self.readers[split],
            len(self.part(split)),
            self._targets(split),
            self.objective_config.views(self._augmentation(None)),
            self.preprocess,
            batch_size=batch_size,
            seed=self.recipe.seed,
            workers=chosen(self.recipe.workers),
        )

    def images(self) -> Iterator[Tensor]:
        """Batches of training images as in evaluation, in a random order, without end; on the device."""
        views, size = OneView(self.preprocess.fit), min(64, len(self.data.train))
        seed = derive(self.recipe.seed, "prepare")
        loader = TrainLoader(
            self.readers["train"], len(self.data.train), None, views, self.preprocess, batch_size=size, seed=seed
        )
        for batch in loader.batches():
            yield on_device(batch.pixels, self.device)

    def eval_loader(self, split: str, batch_size: int) -> EvalLoader:
        """Images of a split, resized and cropped, each once."""
        return EvalLoader(
            self.readers[split],
            len(self.part(split)),
            self.preprocess,
            batch_size=batch_size,
            workers=chosen(self.recipe.workers),
        )

    @property
    def validated_count(self) -> int:
        """Number of images that an evaluation runs; without labels, those of the validation split twice."""
        passes = 1 if self.objective_config.tasks else 2
        return passes * len(self.part("val")) + (len(self.knn) if self.knn else 0)

    @cached_property
    def knn_loaders(self) -> tuple[EvalLoader, EvalLoader]:
        """Images for kNN: those that neighbours are searched among, and those that are classified."""
        assert self.knn is not None
        return self.knn.loaders(self.preprocess, self.recipe, _KNN_BATCH)

    def task_for(self, model: BaseVisionModel[ModelConfig]) -> Task:
        """The task of the labels, bound to a model that is evaluated."""
        return chosen(self.data.task).bound(model.config, self.checkpoint.tokenizer, model)

    def part(self, split: str) -> SplitData:
        """The samples of a split; under a time budget, a random sample of a validation or test split that is large."""
        return self._parts[split]

    def whole(self, split: str) -> SplitData:
        """All samples of a split."""
        return {"train": self.data.train, "val": self.data.val, "test": self.data.test}[split]

    @property
    def held_out(self) -> tuple[str, SplitData]:
        """Name and samples of the split for the final evaluation."""
        name, _ = self.data.held_out
        return name, self.part(name)

    @cached_property
    def _parts(self) -> dict[str, SplitData]:
        data, most = self.data, self.most_evaluated
        seed = derive(self.recipe.seed, "evaluated images")
        held_out = {split: self.whole(split) for split in ("val", "test")}
        return {"train": data.train, **{name: part.sampled(most, seed) for name, part in held_out.items()}}

    @cached_property
    def most_evaluated(self) -> int | None:
        """Most images of a split that are evaluated in a time budget, from the cost of an image on a slow machine."""
        if not timed(self.recipe):
            return None
        speed = SLOW_CPU if self.device.type == "cpu" else SLOW_GPU
        flops = count(self.checkpoint.model.config.densest()).flops
        return max(_FEWEST_EVALUATED, int(_EVALUATING * 60 * chosen(self.recipe.minutes) * speed / max(1, flops)))

    def _augmentation(self, options: Augment | None) -> Augmentation:
        """The augmentation with these options; None: images as in evaluation."""
        own = self.transform if options else None
        return Augmentation(options, self.preprocess, self.checkpoint.model.config, own)

    def _targets(self, split: str) -> Targets | None:
        """Targets of a split; None if the objective has no use for labels."""
        return self.data.target_reader(self.part(split)) if self.objective_config.tasks else None
