"""Summary of a run in text before its first step."""

from pathlib import Path

from ..data.bad_files import bad_file_count
from ..planning.cost import workload
from ..planning.flops import count
from ..tasks.worth import epochs
from .recipe import Recipe, chosen, timed
from .setup import RunSetup


def image_counts(setup: RunSetup) -> str:
    """Number of images of each split, and how many of them are evaluated if not all."""
    words = [f"{len(setup.data.train):,} training"]
    for split, name in (("val", "validation"), ("test", "test")):
        used, there = len(setup.part(split)), len(setup.whole(split))
        words.append(f"{there:,} {name}" if used == there else f"{used:,} of {there:,} {name}, drawn at random")
    return ", ".join(words)


def outline(setup: RunSetup, path: Path) -> str:
    """Return a line each for data, model, cost, time and folder of a run."""
    return "\n".join(f"  {name:<8}{text}" for name, text in _lines(setup, path))


def _lines(setup: RunSetup, path: Path) -> list[tuple[str, str]]:
    recipe, data = setup.recipe, setup.data
    bad = f", {bad_file_count(len(data.survey.bad))} left out" if data.survey.bad else ""
    return [
        ("data", f"{data.name}: {_data_words(setup)}, {data.channels} channel{'s' * (data.channels != 1)}{bad}"),
        ("images", image_counts(setup)),
        (
            "model",
            f"{_model_name(setup)} at {setup.preprocess.image_size[0]}×{setup.preprocess.image_size[1]}",
        ),
        *_cost_lines(setup),
        ("recipe", f"{setup.objective_config.name}, {_recipe_words(recipe)}"),
        ("steps", _steps_words(recipe)),
        ("device", f"{setup.device}, {recipe.precision}"),
        ("run", str(path)),
    ]


def _cost_lines(setup: RunSetup) -> list[tuple[str, str]]:
    """Parameters, FLOPs and memory; the memory, which takes seconds to trace, is left out if there is a time budget or
    no backward pass."""
    recipe, config = setup.recipe, setup.checkpoint.model.config
    if timed(recipe) or recipe.solver == "lbfgs":
        cost = count(config)
        return [("cost", f"{cost.parameters:,} parameters, {cost.flops / 1e9:.2f} GFLOPs an image")]
    work = workload(
        config,
        device=setup.device.type,
        precision=recipe.precision,
        optimizer=chosen(recipe.optimizer),
        ema=bool(recipe.ema),
        checkpointing=recipe.checkpoint_activations,
        objective=setup.objective_config if setup.objective_config.plans(config) else None,
    )
    cost, step_bytes = count(work.config), work.training_process_bytes(chosen(recipe.batch_size))
    return [
        ("cost", f"{cost.parameters:,} parameters, {cost.flops / 1e9:.2f} GFLOPs an image"),
        ("memory", f"{step_bytes / 2**30:.2f} GiB for a step, besides Python, PyTorch and the images"),
    ]


def _data_words(setup: RunSetup) -> str:
    data = setup.data
    if data.task is None:
        return "images, labels not used"
    return f"{data.task.name}, {data.task.count_words(data.names)}"


def _model_name(setup: RunSetup) -> str:
    return setup.recipe.weights or str(setup.recipe.model)


def _recipe_words(recipe: Recipe) -> str:
    if recipe.solver == "lbfgs":
        return f"the last layer by L-BFGS on features that are computed once, seed {recipe.seed}"
    rates = f"lr {recipe.lr:g}"
    if recipe.optimizer == "muon":
        rates = f"muon_lr {recipe.muon_lr:g}, {rates} for other weights than matrices"
    return f"{recipe.optimizer}, {rates}, batch {recipe.batch_size}, seed {recipe.seed}"


def _steps_words(recipe: Recipe) -> str:
    if timed(recipe):
        limit = f", at most {epochs(recipe.epochs)}" if recipe.epochs else ""
        time = "one minute allows" if recipe.minutes == 1 else f"{recipe.minutes:g} minutes allow"
        return f"as many as {time}{limit}"
    return f"{recipe.steps} ({epochs(recipe.epochs)})" if recipe.epochs else str(recipe.steps)
