"""The tests of robustness, each a function of a subject that gives the rows of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from ...data.conflict import conflict, cues, partners, texture
from ...data.corrupt.table import CORRUPTIONS, corrupt
from ...data.seeds import derive
from ...data.sketch import SKETCHES
from ...lens.adversarial import fgsm, pgd
from ...lens.probe.order import shuffle_patches
from ...progress import Track
from ..calibration import calibration, cross_fitted, fit_temperature
from .pictures import Image, Subject, on_all, pictures

Unit = Literal["share", "number"]


@dataclass(frozen=True, slots=True)
class Row:
    """One number.

    Attributes:
        test: what was measured.
        value: a share from 0 to 1, or a number as it is; None where it is not defined.
        severity: of a corruption; None for what is not of one severity.
    """

    test: str
    value: float | None
    severity: int | None = None
    unit: Unit = "share"


def clean(subject: Subject) -> list[Row]:
    """Accuracy on the pictures as they are."""
    return [Row("clean accuracy", subject.accuracy(subject.images))]


def corruptions(subject: Subject, severities: Sequence[int], seed: int, progress: Track) -> list[Row]:
    """Accuracy under each corruption and severity, and the means (Hendrycks and Dietterich, 2019)."""
    rows: list[Row] = []
    for name in progress(CORRUPTIONS, len(CORRUPTIONS), "corruptions"):
        found = [Row(name, subject.accuracy(_corrupted(subject, name, level, seed)), level) for level in severities]
        rows += [*found, Row(name, _mean(found))]
    means = [row for row in rows if row.severity is None]
    return [*rows, Row("mean of corruptions", _mean(means))]


def adversarial(subject: Subject, epsilons: Sequence[float], steps: int, seed: int, progress: Track) -> list[Row]:
    """Accuracy on pictures made to mislead, of ε in 1/255."""
    rows = []
    for epsilon in progress(epsilons, len(epsilons), "attacks"):
        for name in ("FGSM", "PGD"):
            rows.append(Row(f"{name} ε={epsilon:g}/255", _attacked(subject, name, epsilon / 255, steps, seed)))
    return rows


def sketches(subject: Subject) -> list[Row]:
    """Accuracy on pictures of lines."""
    return [
        Row(f"sketch {name}", subject.accuracy(on_all(lambda _, image, draw=draw: draw(image), subject.images)))
        for name, draw in SKETCHES.items()
    ]


def shifts(subject: Subject, seed: int) -> list[Row]:
    """How often the answer stays when the picture moves a little, and accuracy with patches in another order."""
    before = subject.logits(subject.images).argmax(dim=1)
    rows = []
    for part in (32, 16, 8):
        moved = subject.logits([_moved(image, image.shape[1] // part) for image in subject.images]).argmax(dim=1)
        rows.append(Row(f"same answer, shifted 1/{part}", (moved == before).double().mean().item()))
    for cells in (2, 4):
        rows.append(Row(f"shuffled {cells}×{cells}", subject.accuracy(_shuffled(subject.images, cells, seed))))
    return rows


def calibrations(subject: Subject, val: Subject | None, seed: int) -> list[Row]:
    """ECE and Brier score, as they are and at a temperature fitted on `val`, or across halves of the pictures."""
    logits = subject.logits(subject.images)
    as_it_is = calibration(logits, subject.labels)
    if val is not None:
        temperature = fit_temperature(val.logits(val.images), val.labels)
        cooled = calibration(logits.double() / temperature, subject.labels)
    else:
        temperature = fit_temperature(logits, subject.labels)
        cooled = calibration(cross_fitted(logits, subject.labels, derive(seed, "halves")), subject.labels)
    return [
        Row("ECE", as_it_is.ece),
        Row("Brier score", as_it_is.brier, unit="number"),
        Row("temperature", temperature, unit="number"),
        Row("ECE at temperature", cooled.ece),
        Row("Brier at temperature", cooled.brier, unit="number"),
    ]


def conflicts(subject: Subject, masks: Sequence[np.ndarray], seed: int) -> list[Row]:
    """What the model goes by where shape and texture disagree (Geirhos et al., 2019), both cues beside the ratio."""
    kept = [place for place, mask in enumerate(masks) if mask.any()]
    labels = [int(subject.labels[place]) for place in kept]
    others = partners(labels, seed)
    made, plain = [], []
    for row, place in enumerate(kept):
        other, mask = kept[others[row]], masks[place]
        cell = max(2, min(mask.shape) // 8)
        made.append(conflict(mask, texture(subject.images[other], masks[other], cell, derive(seed, row))))
        plain.append(conflict(mask, subject.images[place]))
    said = subject.logits(made).argmax(dim=1).tolist()
    found = cues(said, labels, [labels[other] for other in others])
    cut = (subject.logits(plain).argmax(dim=1) == torch.tensor(labels)).double().mean().item()
    return [
        Row("object cut out", cut),
        Row("cue conflict: shape", found.shape),
        Row("cue conflict: texture", found.texture),
        Row("shape bias", found.bias),
    ]


def _corrupted(subject: Subject, name: str, severity: int, seed: int) -> list[Image]:
    return on_all(lambda place, image: corrupt(image, name, severity, derive(seed, place)), subject.images)


def _attacked(subject: Subject, name: str, epsilon: float, steps: int, seed: int) -> float:
    right = 0
    for start in range(0, len(subject.images), subject.batch_size):
        given = pictures(subject.images[start : start + subject.batch_size]).to(subject.device)
        labels = subject.labels[start : start + subject.batch_size].to(subject.device)
        if name == "FGSM":
            worst = fgsm(lambda found: subject.model(subject.normalise(found)), given, labels, epsilon)
        else:
            start_at = derive(seed, "PGD", start)
            worst = pgd(
                lambda found: subject.model(subject.normalise(found)),
                given,
                labels,
                epsilon,
                steps=steps,
                seed=start_at,
            )
        with torch.inference_mode():
            right += (subject.model(subject.normalise(worst)).argmax(dim=1) == labels).sum().item()
    return right / len(subject.images)


def _moved(image: Image, columns: int) -> Image:
    """To the right; the left column fills what comes in."""
    columns = max(1, columns)
    return np.pad(image, ((0, 0), (columns, 0), (0, 0)), mode="edge")[:, :-columns]


def _shuffled(images: Sequence[Image], cells: int, seed: int) -> list[Image]:
    """Cells of each picture in another order, one order for all; what a side cannot share out evenly stays out."""

    def change(image: Image) -> Image:
        rows, columns = image.shape[0] // cells, image.shape[1] // cells
        part = torch.from_numpy(image[: rows * cells, : columns * cells].astype(np.float32)).movedim(2, 0)[None]
        mixed = shuffle_patches(part, (rows, columns), seed)[0].movedim(0, 2).numpy().astype(np.uint8)
        changed = image.copy()
        changed[: rows * cells, : columns * cells] = mixed
        return changed

    return [change(image) for image in images]


def _mean(rows: Sequence[Row]) -> float:
    return sum(row.value or 0.0 for row in rows) / len(rows)
