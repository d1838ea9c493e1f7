"""Summary of a run in text before its first step."""

from pathlib import Path

from ..planning.cost import plan
from .recipe import Recipe, chosen
from .setup import RunSetup


def outline(setup: RunSetup, path: Path, step_seconds: float | None) -> str:
    """Return a line each for data, model, cost, time and folder of a run."""
    return "\n".join(f"  {name:<8}{text}" for name, text in _lines(setup, path, step_seconds))


def _lines(setup: RunSetup, path: Path, step_seconds: float | None) -> list[tuple[str, str]]:
    recipe, data = setup.recipe, setup.data
    cost = plan(
        setup.checkpoint.model.config,
        batch_size=chosen(recipe.batch_size),
        device=setup.device.type,
        precision=recipe.precision,
        optimizer=chosen(recipe.optimizer),
        ema=bool(recipe.ema),
        checkpointing=recipe.checkpoint_activations,
    )
    step_bytes = cost.training_process_bytes - cost.runtime_bytes
    bad = f", {len(data.survey.bad)} bad files left out" if data.survey.bad else ""
    return [
        ("data", f"{data.name}: {_data_words(setup)}, {data.channels} channels{bad}"),
        ("images", f"{len(data.train)} training, {len(data.val)} validation, {len(data.test)} test"),
        (
            "model",
            f"{_model_name(setup)} at {setup.preprocess.image_size[0]}×{setup.preprocess.image_size[1]}",
        ),
        ("cost", f"{cost.parameters:,} parameters, {cost.flops / 1e9:.2f} GFLOPs an image"),
        ("memory", f"{step_bytes / 2**30:.2f} GiB for a step, besides Python, PyTorch and the images"),
        ("recipe", f"{setup.objective_config.name}, {_recipe_words(recipe)}"),
        ("steps", _time_words(recipe, step_seconds)),
        ("device", f"{setup.device}, {recipe.precision}"),
        ("run", str(path)),
    ]


def _data_words(setup: RunSetup) -> str:
    data = setup.data
    if data.task is None:
        return "images, labels not used"
    return f"{data.task.name}, {data.task.count_words(data.names)}"


def _model_name(setup: RunSetup) -> str:
    return setup.recipe.weights or str(setup.recipe.model)


def _recipe_words(recipe: Recipe) -> str:
    return f"{recipe.optimizer}, lr {recipe.lr:g}, batch {recipe.batch_size}, seed {recipe.seed}"


def _time_words(recipe: Recipe, step_seconds: float | None) -> str:
    epochs = f"{recipe.steps} ({recipe.epochs:g} epochs)" if recipe.epochs else str(recipe.steps)
    if step_seconds is None or recipe.steps is None:
        return epochs
    return f"{epochs}, about {_duration(step_seconds * recipe.steps)}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
