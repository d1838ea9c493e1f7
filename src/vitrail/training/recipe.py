"""Recipe: the complete settings of a training run, from which it can be repeated."""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

from ..data.augment_options import Augment
from ..errors import VitrailError
from ..objectives.objective import ObjectiveConfig
from ..rewrites.lora import LoRA
from .recipe_checks import check_recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """Facts of the model card that only the owner of the model knows."""

    license: str | None = None
    """Licence of the weights, such as apache-2.0; None: that of the weights to start from, or unknown."""
    author: str | None = None
    """Name of the author."""

    def __post_init__(self) -> None:
        for name, value in (("license", self.license), ("author", self.author)):
            if value is not None and not value.strip():
                raise VitrailError(f"recipe.card.{name} is empty: write its name, or leave it out")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Settings of a training run. A field that is None is chosen from the data and the machine, and recorded."""

    model: str | None = None
    """Variant to build, such as vit_tiny_patch16_224; see `vitrail models`."""
    task: str | None = None
    """Task of the labels, such as regression or classification:labels=many; None: inferred from the data."""
    objective: ObjectiveConfig | None = None
    """Objective, such as {name: supervised, label_smoothing: 0.1}; None: that of the task."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Fields of the model's config that differ from the variant, such as {depth: 6}."""
    weights: str | None = None
    """Checkpoint to start from: a run, file, folder or hub id. The head is replaced if the classes differ."""
    image_size: int | tuple[int, int] | None = None
    """Image size in pixels, side or (height, width), in training and evaluation."""
    mean: tuple[float, ...] | None = None
    """Mean of each channel, where uint8 is 0 to 1; None: that of the weights, or of the training images."""
    std: tuple[float, ...] | None = None
    """Standard deviation of each channel, by which pixels are divided; None: as for `mean`."""
    start_size: float | None = None
    """The first half of the steps trains on images scaled by this factor, at its square of the cost; 1: full size."""
    seed: int = 0
    """Seed of the initial weights, the order, the augmentation, dropout and drop path."""

    minutes: float | None = None
    """Time budget of the whole run in minutes; `steps` follows from the measured speed."""
    epochs: float | None = None
    """Number of passes over the training images."""
    steps: int | None = None
    """Number of optimiser steps; follows from epochs or minutes, and overrides them if given."""
    batch_size: int | None = None
    """Images per forward pass."""
    accumulate: int = 1
    """Number of batches whose gradients are summed for one optimiser step."""
    evaluate_every: float | None = None
    """Epochs between evaluations on the validation split."""
    knn: str | None = None
    """For objectives without labels: labelled source on whose training part kNN classifies its validation part at each
    evaluation; the accuracy chooses the best checkpoint."""
    patience: int | None = None
    """Stop after this many evaluations without an improvement; None: never."""
    val: float = 0.1
    """Fraction for the validation split if the source has none; at most 2,500 images."""
    test: float = 0.1
    """Fraction for the test split if the source has none; at most 10,000 images."""
    strict: bool = True
    """Whether damaged files that can still be decoded, such as JPEGs of which a part is grey, are bad files too."""

    solver: Literal["steps", "lbfgs"] = "steps"
    """Train by steps of the optimiser; or lbfgs: freeze everything but the last layer, compute its inputs once, without
    augmentation, and fit it by L-BFGS (for regression, ridge) with an L2 strength chosen on held-out images."""
    optimizer: Literal["adamw", "muon", "lamb"] | None = None
    """AdamW (Loshchilov & Hutter, 2019), Muon for matrices with AdamW for the rest (Jordan et al., 2024), or LAMB for
    large batches (You et al., 2020)."""
    lr: float | None = None
    """Peak learning rate of AdamW and LAMB at a batch of `lr_batch`; scaled linearly with batch_size × accumulate. With
    Muon it is the rate of weights that are not matrices of the encoder or stem, which have `muon_lr`."""
    lr_batch: int = 256
    """Batch size at which AdamW has the learning rate `lr`."""
    muon_lr: float | None = None
    """Peak learning rate of Muon, independent of the batch size."""
    weight_decay: float = 0.05
    """Weight decay of matrices; norms, biases, positions and prefix tokens do not decay."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's decays of the averages of the gradient and of its square."""
    warmup: float | str = 0.1
    """Growth of the learning rate from 0 to its peak: a fraction of the steps, or a length: 5 epochs or 1000 steps."""
    schedule: Literal["cosine", "linear"] = "cosine"
    """Shape of the learning rate after the warm-up."""
    final_lr: float = 0.0
    """Last learning rate, as a fraction of the peak."""
    clip: float = 1.0
    """Largest norm of the gradient, which is scaled down to it; 0: no clipping."""
    layer_decay: float = 1.0
    """Factor of the learning rate from each block to the block below (Clark et al., 2020); 0.75 for fine-tuning."""
    head_lr: float = 1.0
    """Factor of AdamW's learning rate for the head, and for an objective's own parameters."""
    freeze: tuple[str, ...] = ()
    """Shell patterns of the names of frozen parameters, such as embed.* or encoder.*"""
    lora: LoRA | None = None
    """Low-rank updates that are trained in place of the encoder's weights, such as {rank: 8}; needs `weights`."""
    ema: float = 0.0
    """Decay of the moving average of the weights, which is evaluated and saved; 0: none."""
    drop_path: float = 0.0
    """Rate of stochastic depth in the last block; it grows linearly from 0 over the blocks."""
    dropout: float = 0.0
    """Rate of dropout after the linear layers of the blocks."""
    patch_dropout: float = 0.0
    """Fraction of the patches left out in training (Liu et al., 2022, "PatchDropout"), which saves their cost."""
    augment: Augment | None = None
    """Augmentation of the training images."""

    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the matrix products; weights stay float32."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""
    checkpoint_activations: bool = False
    """Recompute activations in the backward pass instead of storing them: less memory, a third more time."""
    workers: int | None = None
    """Number of processes that read images; the result does not depend on it."""
    loggers: tuple[str, ...] = ()
    """Loggers besides the run folder: tensorboard, wandb, mlflow (extras of those names)."""
    save_minutes: float = 5.0
    """Longest time between two saves of the state, in minutes."""
    beside: tuple[str, ...] = ()
    """Other runs whose validation curves the report draws beside this one's, such as one without a teacher."""
    card: Card = field(default_factory=Card)
    """Licence and author for the model card, such as card.license=apache-2.0."""

    def __post_init__(self) -> None:
        check_recipe({each.name: getattr(self, each.name) for each in fields(self)})


def timed(recipe: Recipe) -> bool:
    """Whether the number of steps follows from `minutes`."""
    return recipe.minutes is not None and recipe.steps is None


def without_length(recipe: Recipe) -> bool:
    """Whether the recipe leaves the length of the run open."""
    return recipe.epochs is None and recipe.minutes is None and recipe.steps is None


T = TypeVar("T")


def chosen(value: T | None) -> T:
    """Return a field that must not be None any more: `chosen(recipe.batch_size)` is a number."""
    if value is None:
        raise VitrailError("this field of the recipe is still open: see `vitrail.training.choose`")
    return value


def with_changes(recipe: Recipe, **changes: Any) -> Recipe:
    """Return the recipe with those changes that are not None: the options of a command line."""
    return replace(recipe, **{name: value for name, value in changes.items() if value is not None})
