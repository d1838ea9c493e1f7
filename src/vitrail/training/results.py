"""What is made of a finished run: the report and the model card."""

import torch
from torch import Tensor, nn

from ..checkpoint.contract import load
from ..errors import VitrailError
from ..evaluation.metrics import Evaluation
from ..lens.explanation import last_layer_map
from ..pages.image import displayable
from .assemble import Workshop
from .dataset import Part
from .folder import DATA, RunFolder
from .model_card import write_card
from .next_steps import commands
from .recipe import settled
from .recipe_file import recipe_to_yaml
from .report import Mistake, Report, write_report

_MISTAKES, _BATCH = 12, 24


def write_results(folder: RunFolder, workshop: Workshop, result: Evaluation, logits: Tensor, seconds: float) -> None:
    """Draw report.html and write README.md.

    Args:
        folder, workshop: the run.
        result, logits: of the held-out split.
        seconds: how long the run took.
    """
    _, part = workshop.data.held_out
    made = folder.read_json(DATA)
    pictures, labels = _batch(workshop)
    report = Report(
        title=workshop.data.name,
        summary=_summary(workshop, seconds),
        history=folder.rows(),
        evaluation=result,
        mistakes=_mistakes(folder, workshop, part, logits),
        batch=pictures,
        batch_labels=labels,
        recipe_yaml=recipe_to_yaml(workshop.recipe),
        versions=made["versions"],
        bad_count=len(workshop.data.survey.bad),
        commands=[command for _, command in commands(str(folder.path), made["source"])],
    )
    write_report(folder.path / "report.html", report)
    info = workshop.checkpoint.info
    write_card(
        folder.path / "README.md",
        report,
        model=workshop.recipe.weights or str(workshop.recipe.model),
        dataset=workshop.data.name,
        origin=info["origin"],
        license=info.get("license") or "unknown",
    )


def _summary(workshop: Workshop, seconds: float) -> dict[str, str]:
    recipe, data = workshop.recipe, workshop.data
    config = workshop.checkpoint.model.config
    parameters = sum(param.numel() for param in workshop.checkpoint.model.parameters())
    return {
        "model": recipe.weights or str(recipe.model),
        "kind": type(config).__name__.removesuffix("Config"),
        "parameters": f"{parameters:,}",
        "image size": "×".join(str(side) for side in workshop.preprocess.image_size),
        "data": data.name,
        "classes": str(len(data.class_names)),
        "images": f"{len(data.train)} train, {len(data.val)} val, {len(data.test)} test",
        "steps": f"{recipe.steps} of {settled(recipe.batch_size) * recipe.accumulate} images",
        "time": f"{seconds / 60:.1f} min",
        "device": f"{workshop.device}, {recipe.precision}",
    }


def _mistakes(folder: RunFolder, workshop: Workshop, part: Part, logits: Tensor) -> list[Mistake]:
    """The most confident wrong answers; multi-label sources have none to point at."""
    if workshop.data.task == "multi":
        return []
    confidence, predicted = logits.softmax(1).max(1)
    truth = torch.tensor([labels[0] for labels in part.labels])
    wrong = (predicted != truth).nonzero().flatten()
    worst = wrong[confidence[wrong].argsort(descending=True, stable=True)][:_MISTAKES].tolist()
    model = load(folder.checkpoints / "best").model
    read, names = part.reader(workshop.preprocess.channels), workshop.data.class_names
    mistakes = []
    for index in worst:
        image = workshop.preprocess.fit(read(index))
        mistakes.append(
            Mistake(
                image=displayable(image),
                name=part.samples[index].name,
                truth=names[truth[index]],
                predicted=names[predicted[index]],
                probability=confidence[index].item(),
                attention=_attention(model, workshop.preprocess.normalise(image)),
            )
        )
    return mistakes


def _attention(model: nn.Module, pixels: Tensor) -> Tensor | None:
    """Where the last layer looks, (rows, columns); None for a model without attention."""
    try:
        return last_layer_map(model, pixels.unsqueeze(0))[0]
    except VitrailError:
        return None


def _batch(workshop: Workshop) -> tuple[Tensor, list[str]]:
    """The first training batch as the model sees it, before mixing: uint8 (n, 3, H, W) and the labels."""
    batch = next(workshop.train_loader().batches())
    preprocess, names = workshop.preprocess, workshop.data.class_names
    mean = torch.tensor(preprocess.mean).view(-1, 1, 1)
    std = torch.tensor(preprocess.std).view(-1, 1, 1)
    images = [displayable((pixels * std + mean).clamp(0, 1)) for pixels in batch.pixels[:_BATCH]]
    labels = [", ".join(names[i] for i in row.nonzero().flatten()) for row in batch.targets[:_BATCH]]
    return torch.stack(images), labels
