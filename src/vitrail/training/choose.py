"""Choose the open fields of a recipe (model, size, batch, epochs, augmentation) from the data and the machine."""

import math
from dataclasses import dataclass, replace
from typing import Literal

from ..data.augment_options import Augment
from .recipe import Recipe, chosen, timed, without_length

_CPU_SAMPLES, _GPU_SAMPLES = 300_000, 6_000_000
_CPU_FLOPS = 3e14
"""Limit for a whole run on a CPU if the user gives neither minutes nor epochs: fewer epochs instead of hours."""

SLOW_CPU, SLOW_GPU = 2e10, 5e12
"""FLOPs a second of a slow machine, from which choices under a time budget follow. They are constants, so that choices
do not depend on the speed of the moment."""

_STEPS_IN_TIME, _SMALLEST_BATCH = 100, 32

_TUNING_LR, _HIGHEST_TUNING_LR = 0.2, 2e-3
"""AdamW's peak learning rate for fine-tuning at a batch of 256: this number divided by the width, but no more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """Properties of the data and the machine that the choice depends on.

    Attributes:
        train: training images.
        side: median of the shorter sides, in pixels.
        channels: channels of the images.
        gpu: whether the machine has a GPU.
        pretrained_size: image size of the checkpoint to start from, or None for fresh weights.
        pretrained_by: optimiser of that checkpoint, if it was trained here; None for converted and for fresh weights.
        width: typical width of that checkpoint's layers.
        clips: whether the samples are clips, not images.
    """

    train: int
    side: int
    channels: int
    gpu: bool
    pretrained_size: tuple[int, int] | None = None
    pretrained_by: str | None = None
    width: int = 192
    clips: bool = False


def choose(recipe: Recipe, situation: Situation, model_size: tuple[int, int] | None = None) -> Recipe:
    """Fill the open fields of a recipe except `steps`, which follows from the epochs or from a time budget.

    Args:
        recipe: as the user gave it.
        situation: data and machine.
        model_size: (height, width) of the variant that the user named; None if none was named.
    """
    if recipe.solver == "lbfgs":
        recipe = _in_one_step(recipe, situation)
    size = recipe.image_size or situation.pretrained_size
    model = recipe.model
    if model is None and recipe.weights is None:
        model, default = _model_for(situation)
        size = size or default
    size = size or model_size
    assert size is not None
    height, width = (size, size) if isinstance(size, int) else size
    batch = min(recipe.batch_size or _batch_size(situation, min(height, width)), situation.train)
    fine_tuned = recipe.weights is not None
    from_scratch = not fine_tuned and bool(chosen(recipe.objective).tasks)
    optimizer = recipe.optimizer or _optimizer(situation, fine_tuned)
    epochs = _epochs(situation, fine_tuned) if without_length(recipe) else recipe.epochs
    return replace(
        recipe,
        model=model,
        image_size=(height, width),
        batch_size=batch,
        epochs=epochs,
        start_size=recipe.start_size or (0.75 if from_scratch and min(height, width) >= 32 else 1.0),
        evaluate_every=recipe.evaluate_every or _evaluate_every(recipe, epochs),
        optimizer=optimizer,
        lr=recipe.lr or _peak_lr(recipe, situation, batch, optimizer, fine_tuned=fine_tuned),
        muon_lr=recipe.muon_lr or (0.008 if fine_tuned else 0.02),
        augment=recipe.augment
        or chosen(recipe.objective).default_augment(min(height, width))
        or _augment(situation, min(height, width)),
    )


def fewer_epochs(recipe: Recipe, situation: Situation, flops: int) -> Recipe:
    """Return the recipe with fewer epochs, at least one, if its model is expensive for a CPU.

    Args:
        recipe: a recipe whose epochs were chosen, not given by the user.
        situation: data and machine.
        flops: floating-point operations of a training step for one image.
    """
    if situation.gpu:
        return recipe
    affordable = max(1.0, round(_CPU_FLOPS / (flops * situation.train), 2))
    return replace(recipe, epochs=min(chosen(recipe.epochs), affordable))


def smaller_batch(recipe: Recipe, situation: Situation, flops: int) -> int:
    """Return the batch size of a recipe, or a smaller one if a slow machine would do few steps in its time budget.

    With the same images, 100 steps learn as much as 30 or more, see LOG.md. On 16 images, Muon's own
    work is a third of a step's time.

    Args:
        recipe: a recipe with a time budget, whose batch size was chosen, not given by the user.
        situation: data and machine.
        flops: floating-point operations of a training step for one image.
    """
    images = 60 * chosen(recipe.minutes) * (SLOW_GPU if situation.gpu else SLOW_CPU) / flops
    enough = 2 ** int(math.log2(max(1.0, images / _STEPS_IN_TIME)))
    return min(chosen(recipe.batch_size), max(_SMALLEST_BATCH, enough))


def _in_one_step(recipe: Recipe, situation: Situation) -> Recipe:
    """A recipe with solver lbfgs, whose one step uses the batches of a whole epoch."""
    batch = min(recipe.batch_size or _SMALLEST_BATCH, situation.train)
    length = replace(recipe, steps=1, epochs=1.0, evaluate_every=1.0, start_size=1.0)
    return replace(length, batch_size=batch, accumulate=situation.train // batch)


def _model_for(situation: Situation) -> tuple[str, int]:
    """Variant and image size for random weights: the size of the images, limited by the speed of the machine."""
    if situation.clips:
        return "compact_video_small_64", 64
    if situation.side <= 10:
        return "compact_tiny_8", 8
    if situation.side <= 20:
        return "compact_tiny_16", 16
    if situation.side <= 44:
        return "whitened_small_32", 32
    if situation.side <= 90:
        return "compact_small_64", 64
    return ("compact_small_224", 224) if situation.gpu and situation.side >= 180 else ("compact_small_128", 128)


def _batch_size(situation: Situation, side: int) -> int:
    """Batch size that keeps the device busy, but small enough for 20 steps an epoch."""
    busy = 32 if situation.clips else 256 if side <= 48 else 128 if side <= 96 else 64
    if situation.gpu:
        busy *= 2
    steps_matter = 2 ** int(math.log2(max(1, situation.train / 20)))
    return max(16, min(busy, steps_matter))


def _epochs(situation: Situation, fine_tuned: bool) -> float:
    """Epochs for a number of samples that suits the machine: 6 to 100 (30 for thumbnails); a third for fine-tuning."""
    samples = _GPU_SAMPLES if situation.gpu else _CPU_SAMPLES
    epochs = min(30 if situation.side <= 20 else 100, max(6, samples / situation.train))
    return float(round(epochs / 3 if fine_tuned else epochs))


def _optimizer(situation: Situation, fine_tuned: bool) -> Literal["adamw", "muon"]:
    """Muon for fresh weights and for weights that it has trained; AdamW, whose steps are smaller, for other weights."""
    return "adamw" if fine_tuned and situation.pretrained_by != "muon" else "muon"


def _peak_lr(recipe: Recipe, situation: Situation, batch: int, optimizer: str, *, fine_tuned: bool) -> float:
    """Peak learning rate of AdamW, for all weights or for those that Muon leaves, see LOG.md.

    It is stated for a batch of `lr_batch` and scaled linearly from there. As small batches, which few images have, do
    best with the root of the batch, the stated rate is that much higher.
    """
    full = 2e-3 if optimizer == "muon" else _tuning_lr(recipe, situation) if fine_tuned else 1e-3
    return float(f"{full * math.sqrt(recipe.lr_batch / (batch * recipe.accumulate)):.2g}")


def _tuning_lr(recipe: Recipe, situation: Situation) -> float:
    """Peak learning rate of fine-tuning by AdamW.

    It falls with the width of the layers (Yang et al., 2022, "Tensor programs V"). Low-rank updates take eight times as
    much, and with a decay over the layers the last layer takes twice as much.
    """
    factor = (8 if recipe.lora else 1) * (2 if recipe.layer_decay < 1 else 1)
    return factor * min(_HIGHEST_TUNING_LR, _TUNING_LR / situation.width)


def _evaluate_every(recipe: Recipe, epochs: float | None) -> float | None:
    """Epochs between evaluations; None if a time budget decides."""
    return None if timed(recipe) else max(1.0, (epochs or 0) / 50)


def _augment(situation: Situation, side: int) -> Augment:
    """Crops and flips. Grey images are not flipped: they are often digits or letters, whose class a flip changes. Nor
    are clips, whose classes often are directions."""
    flip = 0.5 if situation.channels >= 3 and not situation.clips else 0.0
    if side <= 44:
        return Augment(crop="shift", shift=0.0625 if side > 20 else 0.125, flip=flip)
    return Augment(crop="resized", flip=flip)
