"""Segmentation metrics: intersection over union of each class, over all pixels of a data set."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..data.annotations import IGNORED
from ..data.joint import MapTarget
from ..errors import VitrailError
from .maps import resized_logits
from .outcomes import Evaluation, Metrics, Names
from .worth import Baseline, compared, percent_interval

_RESAMPLES = 500
"""Data sets drawn from the images, for the interval (Efron, 1979)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelClass:
    """Metrics of a class.

    Attributes:
        iou: pixels that are of the class by truth and prediction, divided by those that are by one of both; None if
            there are none.
        pixels: fraction of the labelled pixels that are of the class.
    """

    name: str
    iou: float | None
    pixels: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentationEvaluation(Evaluation):
    """Evaluation of maps of classes. `loss` is the mean cross entropy of a labelled pixel.

    Attributes:
        mean_iou: mean IoU of the classes that occur in truth or prediction.
        interval: 95 % interval of it, over data sets drawn from the images; None for a single image.
        pixel_accuracy: fraction of the labelled pixels with the right class.
        classes: metrics of each class.
        ignored: fraction of all pixels that are not labelled.
    """

    mean_iou: float
    interval: tuple[float, float] | None
    pixel_accuracy: float
    classes: tuple[PixelClass, ...]
    ignored: float

    @property
    def quality(self) -> float:
        """Mean IoU."""
        return self.mean_iou

    def headline(self) -> dict[str, float]:
        return {"loss": self.loss, "mean_iou": self.mean_iou, "pixel_accuracy": self.pixel_accuracy}

    def facts(self) -> list[tuple[str, str]]:
        interval = "" if self.interval is None else f" ({percent_interval(self.interval)})"
        return [
            ("mean IoU", f"{100 * self.mean_iou:.1f} %{interval}"),
            ("pixel accuracy", f"{100 * self.pixel_accuracy:.1f} %"),
        ]

    def baseline(self) -> Baseline:
        """The most common class everywhere: its IoU is its share of the pixels, that of all others 0."""
        shares = [one.pixels for one in self.classes]
        value = max(shares) / max(1, sum(share > 0 for share in shares))
        low = None if self.interval is None else self.interval[0]
        answer = f"{self.classes[shares.index(max(shares))].name} everywhere"
        return Baseline(answer=answer, value=f"mean IoU {100 * value:.1f} %", model=compared(self.mean_iou, low, value))

    def card_metrics(self) -> dict[str, float]:
        return {"mean_iou": self.mean_iou, "accuracy": self.pixel_accuracy}

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class SegmentationMetrics(Metrics):
    """Compares maps of classes with the true ones, each at the resolution of the true map.

    Args:
        names: names of the K classes.
    """

    def __init__(self, names: Names) -> None:
        self.names = names
        self.both: list[Tensor] = []
        self.predicted: list[Tensor] = []
        self.true: list[Tensor] = []
        self.losses = 0.0
        self.pixels = 0

    def update(self, output: Float[Tensor, "B K h w"], target: Sequence[MapTarget]) -> None:
        """Add the logits of a batch, and the true map of each of its images."""
        count = len(self.names)
        for logits, truth in zip(output, target, strict=True):
            classes = truth.values.long()
            labelled = classes != IGNORED
            full = resized_logits(logits[None], truth.values.shape)[0]
            predicted, true = full.argmax(0)[labelled], classes[labelled]
            self.both.append(true[predicted == true].bincount(minlength=count))
            self.predicted.append(predicted.bincount(minlength=count))
            self.true.append(true.bincount(minlength=count))
            # Of one image after the other, so that logits of large maps are not copied for a whole batch.
            self.losses += F.cross_entropy(
                full[None].double(), classes[None], ignore_index=IGNORED, reduction="sum"
            ).item()
            self.pixels += classes.numel()

    def compute(self) -> SegmentationEvaluation:
        """Compute IoU and accuracy over the pixels of all images."""
        if not self.both:
            raise VitrailError("there are no labelled images to score: give a source with maps of classes")
        both, predicted, true = (torch.stack(part) for part in (self.both, self.predicted, self.true))
        labelled = int(true.sum())
        if not labelled:
            raise VitrailError("every pixel of the maps is ignored: there is nothing to score, use other maps")
        ious = class_ious(both.sum(0), predicted.sum(0), true.sum(0))
        return SegmentationEvaluation(
            count=len(both),
            loss=self.losses / labelled,
            mean_iou=ious.nanmean().item(),
            interval=_interval(both, predicted, true),
            pixel_accuracy=int(both.sum()) / labelled,
            classes=tuple(
                PixelClass(name=name, iou=None if iou != iou else iou, pixels=share)
                for name, iou, share in zip(self.names, ious.tolist(), (true.sum(0) / labelled).tolist(), strict=True)
            ),
            ignored=1 - labelled / self.pixels,
        )


def class_ious(
    both: Int[Tensor, "*n K"], predicted: Int[Tensor, "*n K"], true: Int[Tensor, "*n K"]
) -> Float[Tensor, "*n K"]:
    """IoU of each class from its numbers of pixels, float64; NaN for classes that occur in neither map."""
    return both.double() / (predicted + true - both).double()


def _interval(both: Tensor, predicted: Tensor, true: Tensor) -> tuple[float, float] | None:
    """95 % interval of the mean IoU: the images are drawn with replacement, as often as there are images."""
    count = len(both)
    if count < 2:
        return None
    draw = torch.Generator().manual_seed(0)
    drawn = torch.randint(count, (_RESAMPLES, count), generator=draw)
    weights = torch.zeros(_RESAMPLES, count, dtype=torch.float64).scatter_add_(
        1, drawn, torch.ones(_RESAMPLES, count, dtype=torch.float64)
    )
    sums = (weights @ part.double() for part in (both, predicted, true))
    found = class_ious(*sums).nanmean(dim=1)
    low, high = found[found.isfinite()].quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
