"""The tests of robustness, each a function of a subject that gives the rows of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..data.conflict import Mask, conflict, cues, partners, texture
from ..data.corrupt.corruptions import CORRUPTIONS, corrupt
from ..data.seeds import derive
from ..data.sketch import SKETCHES
from ..evaluation.calibration import brier_scores, calibration, cross_fitted, fit_temperature
from ..lens.adversarial import fgsm, pgd
from ..lens.probe.order import shuffle_patches
from ..progress import Track
from .subject import Image, Subject, on_all, pictures

Attack = Literal["FGSM", "PGD"]
ATTACKS: tuple[Attack, ...] = get_args(Attack)
Unit = Literal["share", "number"]
MEAN_OF_CORRUPTIONS = "mean of corruptions"


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One number.

    Attributes:
        test: what was measured.
        value: a share from 0 to 1, or a number as it is; None where it is not defined.
        severity: of a corruption; None for what is not of one severity.
        each: what every picture adds to the mean, where the value is a mean over pictures.
    """

    test: str
    value: float | None
    severity: int | None = None
    unit: Unit = "share"
    each: Float[Tensor, " n"] | None = None

    @property
    def error(self) -> float | None:
        """The standard error of the mean over pictures; None where the value is no mean."""
        return None if self.each is None else standard_error(self.each)


def standard_error(each: Float[Tensor, " n"]) -> float:
    """How far a mean over n pictures is, by chance, from the mean over all pictures there could be."""
    return each.std().item() / len(each) ** 0.5


def over_pictures(test: str, each: Float[Tensor, " n"], severity: int | None = None, unit: Unit = "share") -> Row:
    """A row that is a mean over pictures."""
    return Row(test, each.mean().item(), severity, unit, each.double())


def clean(subject: Subject) -> list[Row]:
    """Accuracy on the pictures as they are."""
    return [over_pictures("clean accuracy", subject.right(subject.images))]


def corruptions(subject: Subject, severities: Sequence[int], seed: int, progress: Track) -> list[Row]:
    """Accuracy under each corruption and severity, and the means (Hendrycks and Dietterich, 2019)."""
    rows: list[Row] = []
    means: list[Tensor] = []
    for name in progress(CORRUPTIONS, len(CORRUPTIONS), "corruptions"):
        right = [subject.right(_corrupted(subject, name, severity, seed)) for severity in severities]
        rows += [over_pictures(name, each, severity) for severity, each in zip(severities, right, strict=True)]
        means.append(torch.stack(right).mean(dim=0))
        rows.append(over_pictures(name, means[-1]))
    return [*rows, over_pictures(MEAN_OF_CORRUPTIONS, torch.stack(means).mean(dim=0))]


def adversarial(subject: Subject, epsilons: Sequence[float], steps: int, seed: int, progress: Track) -> list[Row]:
    """Accuracy on pictures made to mislead, of ε in 1/255."""
    rows = []
    for epsilon in progress(epsilons, len(epsilons), "attacks"):
        for name in ATTACKS:
            right = _attacked(subject, name, epsilon / 255, steps, seed)
            rows.append(over_pictures(f"{name} ε={epsilon:g}/255", right))
    return rows


def sketches(subject: Subject) -> list[Row]:
    """Accuracy on pictures of lines."""
    return [
        over_pictures(f"sketch {name}", subject.right([draw(image) for image in subject.images]))
        for name, draw in SKETCHES.items()
    ]


def shifts(subject: Subject, seed: int) -> list[Row]:
    """How often the answer stays when the picture moves a little, and accuracy with parts in another order."""
    before = subject.logits(subject.images).argmax(dim=1)
    rows = []
    for part in (32, 16, 8):
        moved = subject.logits([_moved(image, image.shape[1] // part) for image in subject.images]).argmax(dim=1)
        rows.append(over_pictures(f"same answer, shifted 1/{part}", (moved == before).double()))
    for cells in (2, 4):
        rows.append(over_pictures(f"shuffled {cells}×{cells}", subject.right(_shuffled(subject, cells, seed))))
    return rows


def calibrations(subject: Subject, val: Subject | None, seed: int) -> list[Row]:
    """ECE and Brier score, as they are and at a temperature fitted on `val`, or across halves of the pictures."""
    logits = subject.logits(subject.images)
    if val is not None:
        temperature = fit_temperature(val.logits(val.images), val.labels)
        cooled = logits.double() / temperature
    else:
        temperature = fit_temperature(logits, subject.labels)
        cooled = cross_fitted(logits, subject.labels, derive(seed, "halves"))
    return [
        Row("ECE", calibration(logits, subject.labels).ece),
        over_pictures("Brier score", brier_scores(logits, subject.labels), unit="number"),
        Row("temperature", temperature, unit="number"),
        Row("ECE at temperature", calibration(cooled, subject.labels).ece),
        over_pictures("Brier at temperature", brier_scores(cooled, subject.labels), unit="number"),
    ]


def conflicts(subject: Subject, masks: Sequence[Mask | None], seed: int) -> list[Row]:
    """What the model goes by where shape and texture disagree (Geirhos et al., 2019), both cues beside the ratio.

    Args:
        masks: where the object of each picture is; None leaves the picture out.
    """
    seen = [(image, mask) for image, mask in zip(subject.images, masks, strict=True) if mask is not None]
    labels = subject.labels[[mask is not None for mask in masks]]
    others = partners(labels.tolist(), seed)
    made = []
    for place, (_, mask) in enumerate(seen):
        image, surface = seen[others[place]]
        cell = max(2, min(mask.shape) // 8)
        made.append(conflict(mask, texture(image, surface, cell, derive(seed, place))))
    said = subject.logits(made).argmax(dim=1)
    alone = subject.logits([conflict(mask, image) for image, mask in seen]).argmax(dim=1)
    shapes, textures = said == labels, said == labels[others]
    return [
        over_pictures("object cut out", (alone == labels).double()),
        over_pictures("cue conflict: shape", shapes.double()),
        over_pictures("cue conflict: texture", textures.double()),
        Row("shape bias", cues(said.tolist(), labels.tolist(), labels[others].tolist()).bias),
    ]


def _corrupted(subject: Subject, name: str, severity: int, seed: int) -> list[Image]:
    return on_all(lambda place, image: corrupt(image, name, severity, derive(seed, place)), subject.images)


def _attacked(subject: Subject, name: Attack, epsilon: float, steps: int, seed: int) -> Float[Tensor, " n"]:
    right = []
    for start in range(0, len(subject.images), subject.batch_size):
        given = pictures(subject.images[start : start + subject.batch_size]).to(subject.device)
        labels = subject.labels[start : start + subject.batch_size].to(subject.device)
        if name == "FGSM":
            worst = fgsm(subject.answer, given, labels, epsilon)
        else:
            worst = pgd(subject.answer, given, labels, epsilon, steps=steps, seed=derive(seed, "PGD", start))
        with torch.inference_mode():
            right.append((subject.answer(worst).argmax(dim=1) == labels).cpu())
    return torch.cat(right).double()


def _moved(image: Image, columns: int) -> Image:
    """To the right; the left column fills what comes in."""
    columns = max(1, columns)
    return np.pad(image, ((0, 0), (columns, 0), (0, 0)), mode="edge")[:, :-columns]


def _shuffled(subject: Subject, cells: int, seed: int) -> list[Image]:
    """Cells of each picture in an order of its own; what a side cannot share out evenly stays where it is."""

    def change(place: int, image: Image) -> Image:
        rows, columns = image.shape[0] // cells, image.shape[1] // cells
        part = torch.from_numpy(image[: rows * cells, : columns * cells].astype(np.float32)).movedim(2, 0)[None]
        mixed = shuffle_patches(part, (rows, columns), derive(seed, place))[0].movedim(0, 2).numpy()
        changed = image.copy()
        changed[: rows * cells, : columns * cells] = mixed.astype(np.uint8)
        return changed

    return on_all(change, subject.images)
