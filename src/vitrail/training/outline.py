"""What a run is going to do, in words, before its first step."""

from pathlib import Path

from ..planning.cost import plan
from .assemble import Workshop
from .recipe import Recipe, settled


def outline(workshop: Workshop, path: Path, step_seconds: float | None) -> str:
    """Data, model, cost, time and place of a run, a line each."""
    return "\n".join(f"  {name:<8}{text}" for name, text in _lines(workshop, path, step_seconds))


def _lines(workshop: Workshop, path: Path, step_seconds: float | None) -> list[tuple[str, str]]:
    recipe, data = workshop.recipe, workshop.data
    cost = plan(
        workshop.checkpoint.model.config,
        batch_size=settled(recipe.batch_size),
        device=workshop.device.type,
        precision=recipe.precision,
        optimizer=settled(recipe.optimizer),
        ema=bool(recipe.ema),
        checkpointing=recipe.checkpoint_activations,
    )
    step_bytes = cost.training_process_bytes - cost.runtime_bytes
    bad = f", {len(data.survey.bad)} bad files left out" if data.survey.bad else ""
    return [
        ("data", f"{data.name}: {len(data.class_names)} classes, {data.channels} channels{bad}"),
        ("images", f"{len(data.train)} to train on, {len(data.val)} to validate, {len(data.test)} to test"),
        (
            "model",
            f"{_model_name(workshop)} at {workshop.preprocess.image_size[0]}×{workshop.preprocess.image_size[1]}",
        ),
        ("cost", f"{cost.parameters:,} parameters, {cost.flops / 1e9:.2f} GFLOPs an image"),
        ("memory", f"{step_bytes / 2**30:.2f} GiB for a step, besides Python, PyTorch and the images"),
        ("recipe", _recipe_words(recipe)),
        ("steps", _time_words(recipe, step_seconds)),
        ("device", f"{workshop.device}, {recipe.precision}"),
        ("run", str(path)),
    ]


def _model_name(workshop: Workshop) -> str:
    return workshop.recipe.weights or str(workshop.recipe.model)


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
