"""Detection metrics: what a detector is worth on images whose objects are known."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from ..errors import VitrailError
from ..nn import DenseDetections, Detections
from .average_precision import Precision, TrueObjects, average_precision
from .detected_objects import DetectedObjects, detected_objects
from .outcomes import Evaluation, Metrics, Names
from .shown_objects import SHOWN, Candidates, ShownScore, candidates, shown_score
from .worth import with_margin


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassPrecision:
    """Average precision of a class, over IoUs of 0.5 to 0.95 and at 0.5; None if it has no objects.

    Attributes:
        objects: number of its objects.
    """

    name: str
    objects: int
    ap: float | None
    ap50: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectionEvaluation(Evaluation):
    """Evaluation of a detector. `loss` is 1 - AP. See `Precision` for the metrics; without objects they are 0.

    Attributes:
        objects: number of objects, without crowds.
        margin: half of the 95 % interval of `ap`; None if it is not known.
        shown: what the objects that predictions show are worth, those from the checkpoint's threshold on.
        usual: the same for the usual threshold.
        ap_small, ap_medium, ap_large: None if there are no such objects, or if sizes of images are not known.
    """

    objects: int
    ap: float
    ap50: float
    ap75: float
    recall: float
    margin: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    per_class: tuple[ClassPrecision, ...]
    shown: ShownScore
    usual: ShownScore

    @property
    def quality(self) -> float:
        return self.ap

    def headline(self) -> dict[str, float]:
        return {"loss": self.loss, "ap": self.ap, "ap50": self.ap50, "ap75": self.ap75}

    def facts(self) -> list[tuple[str, str]]:
        margin = None if self.margin is None else f"{self.margin:.3f}"
        sizes = [("small", self.ap_small), ("medium", self.ap_medium), ("large", self.ap_large)]
        return [
            ("average precision, AP (95 % interval)", with_margin(f"{self.ap:.3f}", margin)),
            ("AP at an IoU of 0.5", f"{self.ap50:.3f}"),
            ("AP at an IoU of 0.75", f"{self.ap75:.3f}"),
            ("average recall", f"{self.recall:.3f}"),
            (f"objects shown, from a probability of {self.shown.threshold:.3f} on", self.shown.words),
            *((f"AP of {name} objects", f"{value:.3f}") for name, value in sizes if value is not None),
        ]

    def cautions(self) -> list[str]:
        missing = [row.name for row in self.per_class if not row.objects]
        found = Evaluation.cautions(self)
        if not self.objects:
            found.append("There are no objects in these images: precision and recall are not defined, and given as 0.")
        elif missing:
            found.append(
                f"The images have no objects of {_some(missing)}: average precision is over the other classes."
            )
        return found

    def card_metrics(self) -> dict[str, float]:
        return {"map": self.ap, "map_50": self.ap50, "map_75": self.ap75}

    def to_dict(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


class DetectionMetrics(Metrics):
    """Collects found and true objects of all images and computes the metrics in float64.

    Args:
        names: names of the classes.
        threshold: probability from which predictions show an object; all count for average precision.
    """

    def __init__(self, names: Names, threshold: float = SHOWN) -> None:
        self.names = names
        self.threshold = threshold
        self.found: list[DetectedObjects] = []
        self.truth: list[TrueObjects] = []

    def update(self, output: Detections | DenseDetections, target: Sequence[TrueObjects]) -> None:
        """Add a batch of a detector's outputs, and the objects of its images."""
        if not (output.logits.isfinite().all() and output.boxes.isfinite().all()):
            raise VitrailError("some outputs of the detector are not finite: the weights have diverged, or try float32")
        self.found += detected_objects(output)
        self.truth += target

    def compute(self) -> DetectionEvaluation:
        """Compute precision and recall over all images."""
        whole, margin = self._precision(interval=True)
        counts = torch.stack([self._count(image) for image in self.truth]).sum(dim=0).tolist()
        ap, compared = whole.ap or 0.0, self.candidates()
        return DetectionEvaluation(
            count=len(self.truth),
            loss=1 - ap,
            loss_margin=margin,
            objects=sum(counts),
            ap=ap,
            ap50=whole.ap50 or 0.0,
            ap75=whole.ap75 or 0.0,
            recall=whole.recall or 0.0,
            margin=margin,
            per_class=tuple(
                ClassPrecision(name=name, objects=count, ap=values[0], ap50=values[1])
                for name, count, values in zip(self.names, counts, whole.classes, strict=True)
            ),
            ap_small=whole.small,
            ap_medium=whole.medium,
            ap_large=whole.large,
            shown=shown_score(compared, self.threshold),
            usual=shown_score(compared, SHOWN),
        )

    def quality(self) -> float:
        return self._precision(interval=False)[0].ap or 0.0

    def candidates(self) -> Candidates:
        """All found objects, and which of them are right."""
        return candidates(self.found, self.truth)

    def _precision(self, *, interval: bool) -> tuple[Precision, float | None]:
        if not self.truth:
            raise VitrailError("there are no labelled images to score: give a source with labels")
        return average_precision(self.found, self.truth, len(self.names), interval=interval)

    def _count(self, image: TrueObjects) -> Int[Tensor, " K"]:
        return image.classes[~image.crowd].bincount(minlength=len(self.names))


def _some(names: list[str], most: int = 5) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
