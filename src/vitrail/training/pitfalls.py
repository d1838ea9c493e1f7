"""Warnings about settings that are known to fail, printed once before the first step."""

from collections.abc import Iterator

from ..models.fields import EncoderFields, ModelConfig
from ..nn import LayerScale
from ..objectives.supervised import SupervisedConfig
from .recipe import Recipe, chosen, timed
from .recipe_checks import read_warmup
from .setup import RunSetup

_DEEP = 18
"""Blocks from which ViTs train unstably without layer scale or stochastic depth (Touvron et al., 2021, "CaiT")."""

_LARGE, _FEW_IMAGES = 50_000_000, 100_000
"""Parameters of a base-sized model, and images that are too few to train one from random weights."""

_LONG, _SMALL_SET = 50, 50_000
"""Number of epochs from which fewer unaugmented images than the second number are memorised."""

_HIGHEST_RATES = {"adamw": 4e-3, "lamb": 2e-2}
"""Peak learning rates above which training diverges in most published recipes."""


def pitfalls(setup: RunSetup) -> list[str]:
    """Warnings about settings of a run that are known to fail, each with a way out."""
    recipe, config = setup.recipe, setup.checkpoint.model.config
    if recipe.solver == "lbfgs":  # no optimiser, no augmentation, and a convex loss
        return []
    return [
        *_warmup(recipe),
        *_depth(setup, config),
        *_size(setup),
        *_augmentation(setup),
        *_rate(recipe),
        *_length(setup),
        *_labels(setup),
    ]


def _warmup(recipe: Recipe) -> Iterator[str]:
    if not read_warmup(recipe.warmup)[0] and recipe.optimizer != "muon" and not recipe.weights:
        yield (
            "there is no warm-up: the first steps of a Transformer at the full learning rate often diverge; use "
            "--set warmup=0.1"
        )


def _depth(setup: RunSetup, config: ModelConfig) -> Iterator[str]:
    if not isinstance(config, EncoderFields) or config.depth < _DEEP or config.drop_path or setup.recipe.weights:
        return
    if not any(isinstance(module, LayerScale) for module in setup.checkpoint.model.modules()):
        yield (
            f"{config.depth} blocks without layer scale or stochastic depth train unstably: use --set drop_path=0.2, "
            "or a variant with layer scale such as deit3_large_patch16_224"
        )


def _size(setup: RunSetup) -> Iterator[str]:
    count, images = sum(p.numel() for p in setup.checkpoint.model.parameters()), len(setup.data.train)
    if count >= _LARGE and images < _FEW_IMAGES and not setup.recipe.weights and setup.objective_config.tasks:
        yield (
            f"{count / 1e6:.0f} million parameters from random weights on {images:,} images usually learn less than a "
            "small model: start from --weights, or leave --model out"
        )


def _augmentation(setup: RunSetup) -> Iterator[str]:
    recipe, images, epochs = setup.recipe, len(setup.data.train), setup.recipe.epochs or 0
    augment, objective = chosen(recipe.augment), setup.objective_config
    mixes = isinstance(objective, SupervisedConfig) and (objective.mixup or objective.cutmix)
    plain = augment.crop == "none" and not (augment.randaugment or augment.three_augment or augment.erasing or mixes)
    learns = not recipe.weights and bool(objective.tasks) and setup.transform is None
    if plain and learns and epochs >= _LONG and images < _SMALL_SET:
        yield (
            f"{epochs:g} epochs over {images:,} images without crops will be memorised: use --set augment.crop=resized "
            "(photographs) or augment.crop=shift (small images)"
        )


def _rate(recipe: Recipe) -> Iterator[str]:
    samples, given = chosen(recipe.batch_size) * recipe.accumulate, chosen(recipe.lr)
    rate, highest = given * samples / recipe.lr_batch, _HIGHEST_RATES.get(str(recipe.optimizer))
    if highest and rate > highest:
        yield (
            f"lr={given:g} for a batch of {recipe.lr_batch} is {rate:.2g} at this one of {samples:,}, which often "
            f"diverges: use --set lr={given * highest / rate:.2g} or a smaller batch"
        )


def _labels(setup: RunSetup) -> list[str]:
    task = setup.data.task
    return task.warnings(setup.data.train.samples) if task and setup.objective_config.tasks else []


def _length(setup: RunSetup) -> Iterator[str]:
    recipe = setup.recipe
    if not timed(recipe) and (recipe.epochs or 1) < 0.995:
        yield (
            f"the run ends after {recipe.epochs:.2g} epochs, before it has seen every image once: use --epochs 1 or "
            "more"
        )
