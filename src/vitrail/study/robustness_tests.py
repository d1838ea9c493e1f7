"""Robustness tests: functions of a model with its images that return measurements."""

from collections.abc import Iterator, Sequence
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
from ..evaluation.calibration import brier_scores, calibration, cross_fitted
from ..lens.adversarial import fgsm, pgd
from ..lens.probe.order import shuffle_patches
from ..progress import Track
from ..tasks.temperature import FEWEST_FITTED, fit_temperature
from .studied_model import Image, StudiedModel, on_all, unit_range

Attack = Literal["FGSM", "PGD"]
ATTACKS: tuple[Attack, ...] = get_args(Attack)
Unit = Literal["share", "number"]
CLEAN = "clean accuracy"
MEAN_OF_CORRUPTIONS = "mean of corruptions"


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """One number of a study.

    Attributes:
        test: name of the test.
        value: a fraction from 0 to 1, or a number (`unit`); None if it is not defined.
        severity: severity of a corruption; None for a mean over severities and for all other tests.
        unit: "share" (a fraction) or "number".
        each: the value of every image, if `value` is their mean.
    """

    test: str
    value: float | None
    severity: int | None = None
    unit: Unit = "share"
    each: Float[Tensor, " n"] | None = None

    @property
    def error(self) -> float | None:
        """Standard error of the mean over images; None if the value is not a mean."""
        return None if self.each is None else standard_error(self.each)


def standard_error(each: Float[Tensor, " n"]) -> float:
    """The standard error of a mean over n images: deviation / √n."""
    return each.std().item() / len(each) ** 0.5


def image_mean(test: str, each: Float[Tensor, " n"], severity: int | None = None, unit: Unit = "share") -> Measurement:
    """A measurement that is a mean over images."""
    return Measurement(test, each.mean().item(), severity, unit, each.double())


def clean(studied: StudiedModel) -> list[Measurement]:
    """Accuracy on the unchanged images."""
    return [image_mean(CLEAN, studied.correct(studied.clean_logits()))]


def corruptions(studied: StudiedModel, severities: Sequence[int], seed: int, progress: Track) -> list[Measurement]:
    """Accuracy under each corruption and severity, and the means (Hendrycks and Dietterich, 2019)."""
    rows: list[Measurement] = []
    means: list[Tensor] = []
    for name in progress(CORRUPTIONS, len(CORRUPTIONS), "corruptions"):
        right = [studied.correct(studied.logits(_corrupted(studied, name, severity, seed))) for severity in severities]
        rows += [image_mean(name, each, severity) for severity, each in zip(severities, right, strict=True)]
        means.append(torch.stack(right).mean(dim=0))
        rows.append(image_mean(name, means[-1]))
    return [*rows, image_mean(MEAN_OF_CORRUPTIONS, torch.stack(means).mean(dim=0))]


def adversarial(
    studied: StudiedModel, epsilons: Sequence[float], steps: int, seed: int, progress: Track
) -> list[Measurement]:
    """Accuracy on adversarial images, which differ by at most ε; `epsilons` are in 1/255 of the range of values."""
    rows = []
    for epsilon in progress(epsilons, len(epsilons), "attacks"):
        for name in ATTACKS:
            right = _attacked(studied, name, epsilon / 255, steps, seed)
            rows.append(image_mean(f"{name} ε={epsilon:g}/255", right))
    return rows


def sketches(studied: StudiedModel) -> list[Measurement]:
    """Accuracy on line drawings of the images."""
    return [
        image_mean(f"sketch {name}", studied.correct(studied.logits([draw(image) for image in studied.images])))
        for name, draw in SKETCHES.items()
    ]


def shifts(studied: StudiedModel, seed: int) -> list[Measurement]:
    """Fraction of predictions that a small shift does not change, and accuracy on images with shuffled cells."""
    before = studied.clean_logits().argmax(dim=1)
    rows = []
    for part in (32, 16, 8):
        moved = studied.logits([_moved(image, image.shape[1] // part) for image in studied.images]).argmax(dim=1)
        rows.append(image_mean(f"same answer, shifted 1/{part}", (moved == before).double()))
    for cells in (2, 4):
        correct = studied.correct(studied.logits(_shuffled(studied, cells, seed)))
        rows.append(image_mean(f"shuffled {cells}×{cells}", correct))
    return rows


def fitting_images(studied: StudiedModel, val: StudiedModel | None) -> Literal["val", "halves", "none"]:
    """Images that a temperature is fitted on: of "val" and "halves" the first with enough of them."""
    if val is not None and len(val.images) >= FEWEST_FITTED:
        return "val"
    return "halves" if len(studied.images) >= 2 * FEWEST_FITTED else "none"


def calibrations(studied: StudiedModel, val: StudiedModel | None, seed: int) -> list[Measurement]:
    """ECE and Brier score without and with a temperature, fitted on the images of `fitting_images`.

    It multiplies the temperature that the checkpoint has already, if any, and is 1 if there are too few images.
    """
    logits, where = studied.calibrated_logits(), fitting_images(studied, val)
    temperature, cooled = 1.0, logits.double()
    if where == "val" and val is not None:
        temperature = fit_temperature(val.calibrated_logits(), val.labels)
        cooled = logits.double() / temperature
    elif where == "halves":
        temperature = fit_temperature(logits, studied.labels)
        cooled = cross_fitted(logits, studied.labels, derive(seed, "halves"))
    return [
        Measurement("ECE", calibration(logits, studied.labels).ece),
        image_mean("Brier score", brier_scores(logits, studied.labels), unit="number"),
        Measurement("temperature", temperature, unit="number"),
        Measurement("ECE at temperature", calibration(cooled, studied.labels).ece),
        image_mean("Brier at temperature", brier_scores(cooled, studied.labels), unit="number"),
    ]


def conflicts(studied: StudiedModel, masks: Sequence[Mask | None], seed: int) -> list[Measurement]:
    """Predictions on images with conflicting shape and texture (Geirhos et al., 2019): fractions and shape bias.

    Args:
        masks: True on the object of each image; None leaves the image out.
    """
    seen = [(image, mask) for image, mask in zip(studied.images, masks, strict=True) if mask is not None]
    labels = studied.labels[[mask is not None for mask in masks]]
    others = partners(labels.tolist(), seed)
    made = []
    for place, (_, mask) in enumerate(seen):
        image, surface = seen[others[place]]
        cell = max(2, min(mask.shape) // 8)
        made.append(conflict(mask, texture(image, surface, cell, derive(seed, place))))
    predicted = studied.logits(made).argmax(dim=1)
    alone = studied.logits([conflict(mask, image) for image, mask in seen]).argmax(dim=1)
    shapes, textures = predicted == labels, predicted == labels[others]
    return [
        image_mean("object cut out", (alone == labels).double()),
        image_mean("cue conflict: shape", shapes.double()),
        image_mean("cue conflict: texture", textures.double()),
        Measurement("shape bias", cues(predicted.tolist(), labels.tolist(), labels[others].tolist()).bias),
    ]


def _corrupted(studied: StudiedModel, name: str, severity: int, seed: int) -> list[Image]:
    return on_all(lambda place, image: corrupt(image, name, severity, derive(seed, place)), studied.images)


def _attacked(studied: StudiedModel, name: Attack, epsilon: float, steps: int, seed: int) -> Float[Tensor, " n"]:
    return studied.correct(studied.batch_logits(_misleading(studied, name, epsilon, steps, seed)))


def _misleading(
    studied: StudiedModel, name: Attack, epsilon: float, steps: int, seed: int
) -> Iterator[Float[Tensor, "B C H W"]]:
    for start in range(0, len(studied.images), studied.batch_size):
        given = unit_range(studied.images[start : start + studied.batch_size]).to(studied.device)
        labels = studied.labels[start : start + studied.batch_size].to(studied.device)
        if name == "FGSM":
            yield studied.restored(fgsm(studied.answer, given, labels, epsilon))
        else:
            found = pgd(studied.answer, given, labels, epsilon, steps=steps, seed=derive(seed, "PGD", start))
            yield studied.restored(found)


def _moved(image: Image, columns: int) -> Image:
    """Shift an image to the right, repeating its left column."""
    columns = max(1, columns)
    return np.pad(image, ((0, 0), (columns, 0), (0, 0)), mode="edge")[:, :-columns]


def _shuffled(studied: StudiedModel, cells: int, seed: int) -> list[Image]:
    """Shuffle the cells of images; rows and columns beyond a multiple of `cells` stay in place."""

    def change(place: int, image: Image) -> Image:
        rows, columns = image.shape[0] // cells, image.shape[1] // cells
        part = torch.from_numpy(image[: rows * cells, : columns * cells].astype(np.float32)).movedim(2, 0)[None]
        mixed = shuffle_patches(part, (rows, columns), derive(seed, place))[0].movedim(0, 2).numpy()
        changed = image.copy()
        changed[: rows * cells, : columns * cells] = mixed.astype(np.uint8)
        return changed

    return on_all(change, studied.images)
