"""Write the report and the model card of a finished run."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from ...checkpoint.origin import origin_words, public_name
from ...engines.precision import on_device
from ...errors import VitrailError
from ...nn import AnyAttend
from ...objectives.distill import DistillConfig
from ...objectives.objective import ObjectiveConfig
from ...pages.html import panes, section
from ...pages.image import displayable
from ...tasks.outcomes import Curve
from ...tasks.worth import epochs
from ...tasks.worth import images as images_words
from ..folder import DATA, RunFolder
from ..loop import Trainer
from ..measure import BATCH_SIZE, Scored
from ..outline import image_counts
from ..recipe import Recipe, chosen
from ..recipe_file import read_recipe, recipe_to_yaml
from ..setup import RunSetup
from .drawings import attention, batch, conflicts, file_name, mistakes
from .model_card import CardFacts, write_card
from .next_steps import commands, reading_flags
from .report import Report, write_report

_LOOKED_AT = 6
"""Images whose attention is shown for a run without labels."""

_LIMITS = (
    "The numbers hold for images like those of the evaluation. An image of something else still gets an answer, and a "
    "probability is not a guarantee: look at the calibration in the report before relying on it. This model has not "
    "been examined for bias between groups of people, places or cameras."
)

_LIMITS_WITHOUT_LABELS = (
    "The loss measures how well the task of the pre-training is solved on images like the training images, not how "
    "useful the features are for another task: fine-tune or probe the model on labelled images. This model has not "
    "been examined for bias between groups of people, places or cameras."
)

_LOSS_CURVE = Curve(title="Validation loss", columns={"validation": "val_loss"})
_KNN_CURVE = Curve(title="kNN accuracy", columns={"kNN": "val_knn_top1"}, percent=True)


@dataclass(frozen=True, slots=True)
class Result:
    """Result of a run.

    Attributes:
        scored: evaluation on the held-out split.
        cautions: sentences on what it is worth.
        seconds: duration of the run.
    """

    scored: Scored
    cautions: Sequence[str]
    seconds: float


def write_results(folder: RunFolder, setup: RunSetup, trainer: Trainer, result: Result) -> None:
    """Write report.html and README.md, which name no folder of this machine."""
    found = result.scored.found
    made = folder.read_json(DATA)
    task = setup.data.task if setup.by_task else None
    report = Report(
        title=run_title(folder.path, setup.data.name),
        summary=_summary(setup, trainer, result.seconds),
        history=folder.rows(),
        curve=task.curve if task else _KNN_CURVE if setup.knn else _LOSS_CURVE,
        loss_words=task.loss_words if task else "",
        evaluation=found,
        cautions=result.cautions,
        sections=[*(task.report(found) if task else []), *_objective_sections(setup, trainer)],
        mistakes=mistakes(folder, setup, result.scored),
        batch=batch(setup),
        recipe_yaml=recipe_to_yaml(_public(setup.recipe)),
        versions=made["versions"],
        conflict_count=len(setup.data.survey.conflicts),
        conflicts=conflicts(setup),
        commands=_commands(setup, made, predicts=task is not None),
        beside=curves_beside(setup.recipe.beside, setup.objective_config),
    )
    write_report(folder.path / "report.html", report)
    write_card(folder.path / "README.md", report, _card(setup))


def run_title(folder: Path, source: str) -> str:
    """Name of the run's folder, after the name of the source unless it begins with that: "flowers-3"."""
    run, data = folder.resolve().name, public_name(source)
    return run if run.startswith(Path(data).stem) else f"{data}: {run}"


def _commands(setup: RunSetup, made: dict[str, Any], *, predicts: bool) -> list[str]:
    """Next commands, to be run in the folder of the run."""
    flags = reading_flags(skip_bad=bool(made.get("skip_bad")), strict=setup.recipe.strict)
    needed, source = setup.data.task.predict_flags if setup.data.task else "", public_name(made["source"])
    found = commands(".", source, predicts=predicts, flags=flags, predict_flags=needed)
    return [command for _, command in found]


def _card(setup: RunSetup) -> CardFacts:
    recipe, data, info = setup.recipe, setup.data, setup.checkpoint.info
    labelled = data.task is not None and bool(setup.objective_config.tasks)
    return CardFacts(
        model=_model_name(recipe),
        dataset=public_name(data.name),
        origin=origin_words(info),
        gives=data.task.describe(data.names) if labelled and data.task else "features, learned without labels",
        task=data.task.card_type if labelled and data.task else "image-feature-extraction",
        license=info.get("license") or "unknown",
        author=recipe.card.author or "",
        limits=_LIMITS if labelled else _LIMITS_WITHOUT_LABELS,
        predicts=labelled,
        compares=labelled and data.task is not None and data.task.by_vectors,
        attends=any(isinstance(module, AnyAttend) for module in setup.checkpoint.model.modules()),
    )


def _summary(setup: RunSetup, trainer: Trainer, seconds: float) -> dict[str, str]:
    recipe, data = setup.recipe, setup.data
    model = setup.checkpoint.model
    parameters = sum(param.numel() for param in model.parameters())
    return {
        "model": _model_name(recipe),
        "kind": type(model.config).__name__.removesuffix("Config"),
        "objective": _objective_words(setup.objective_config),
        "parameters": f"{parameters:,}",
        "image size": "×".join(str(side) for side in setup.preprocess.image_size),
        "data": public_name(data.name),
        "outputs": data.task.count_words(data.names) if data.task else "no labels",
        "images": image_counts(setup),
        "length": _length(setup, trainer),
        "time": f"{seconds / 60:.1f} min",
        "device": f"{setup.device}, {recipe.precision}",
    }


def _objective_words(objective: ObjectiveConfig) -> str:
    """Name of an objective; that of a student with its teacher."""
    taught = f", teacher {public_name(objective.teacher)}" if isinstance(objective, DistillConfig) else ""
    return f"{objective.name}{taught}"


def _model_name(recipe: Recipe) -> str:
    return public_name(recipe.weights) if recipe.weights else str(recipe.model)


def _public(recipe: Recipe) -> Recipe:
    """The recipe without the folders of other weights and images; recipe.yaml has them."""
    weights, knn = (None if name is None else public_name(name) for name in (recipe.weights, recipe.knn))
    objective = recipe.objective
    if isinstance(objective, DistillConfig):
        objective = replace(objective, teacher=public_name(objective.teacher))
    beside = tuple(public_name(run) for run in recipe.beside)
    return replace(recipe, weights=weights, knn=knn, objective=objective, beside=beside)


def curves_beside(runs: Sequence[str], objective: ObjectiveConfig) -> dict[str, list[dict[str, Any]]]:
    """Rows of metrics of other runs, by names that differ; with losses only if they are of the same kind as a run's.

    Args:
        runs: folders of the other runs, which may be the same.
        objective: objective of the run.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for run in dict.fromkeys(os.path.abspath(run) for run in runs):
        name = Path(run).name
        alike = sum(Path(other).name == name for other in {os.path.abspath(other) for other in runs})
        rows = RunFolder(Path(run)).rows()
        if not _comparable(Path(run), objective):
            rows = [{key: value for key, value in row.items() if key != "val_loss"} for row in rows]
        found[f"{Path(run).parent.name}/{name}" if alike > 1 else name] = rows
    return found


def _comparable(run: Path, objective: ObjectiveConfig) -> bool:
    """Whether the validation loss of a run is that of an objective: of the same labels, or of the same pre-training."""
    try:
        other = read_recipe(str(run)).objective
    except VitrailError:  # of another version
        return False
    return other is not None and (other.tasks, other.tasks or other.name) == (
        objective.tasks,
        objective.tasks or objective.name,
    )


def _length(setup: RunSetup, trainer: Trainer) -> str:
    recipe, steps = setup.recipe, trainer.counters.step
    passes = steps * recipe.accumulate / max(1, len(trainer.loader))
    size = min(chosen(recipe.batch_size), len(setup.data.train)) * recipe.accumulate
    return f"{steps:,} step{'s' * (steps != 1)}, each on {images_words(size)}; {epochs(passes)}"


def _objective_sections(setup: RunSetup, trainer: Trainer) -> list[str]:
    split, part = setup.held_out
    if not len(part):
        return []
    example = next(setup.validation_loader(split, BATCH_SIZE).once())
    sections = trainer.objective.report(trainer.placed(example, trainer.image_size), setup.preprocess)
    return sections if setup.by_task else [*sections, *_attention_section(setup, trainer.evaluated)]


def _attention_section(setup: RunSetup, model: nn.Module) -> list[str]:
    """Held-out images with the attention of the last layer, for a run without labels; none without attention."""
    split, part = setup.held_out
    figures = ""
    for index in range(min(_LOOKED_AT, len(part))):
        image = setup.readers[split](index)
        looked = attention(model.eval(), on_device(setup.preprocess.normalise(image), setup.device))
        if looked is None:
            return []
        name = file_name(part.samples[index])
        figures += f"<figure>{panes(displayable(image), looked.cpu(), name)}</figure>"
    note = "Attention of the last layer, mean over its heads, from the tokens that the output is made of."
    return [section("Where it looks", f'<div class="images">{figures}</div>', note)] if figures else []
