"""The segmentation task: a class for each pixel."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ..data.annotations import IGNORED
from ..data.joint import MapTarget, Window, placed
from ..data.samples import Source
from ..data.survey import Survey
from ..errors import VitrailError
from ..models.fields import ModelConfig, pair
from ..pages.html import section, table
from ..pages.image import index_png, png_bytes
from ..pages.overlay import over_classes
from ..tables import plain_table
from ..task_spec import SEGMENTATION, TaskSpec
from .maps import MappedClasses, MapTask, resized_logits
from .outcomes import Curve, Mistake, Names, Panel, Prediction
from .segmentation_metrics import SegmentationEvaluation, SegmentationMetrics
from .task import same_kind
from .worth import with_margin


@dataclass(frozen=True, kw_only=True, slots=True)
class MapPrediction(Prediction):
    """Predicted class of each pixel.

    Attributes:
        classes: (h, w) index of the class, at the resolution of the model's output; fractions of its sides are those of
            the image's.
        shares: (name, fraction of the pixels) of each class; empty if the image could not be read.
    """

    classes: Int[Tensor, "h w"] | None = None
    shares: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Segmentation(MapTask):
    """Segmentation: outputs are logits (B, K, h, w) of the classes of pixels, labels maps of classes."""

    name: ClassVar[str] = "segmentation"
    card_type: ClassVar[str] = "image-segmentation"
    heads: ClassVar[tuple[str, ...]] = ("segmentation",)
    objective: ClassVar[str] = "segmentation"
    curve: ClassVar[Curve] = Curve(
        title="Validation mean IoU",
        columns={"mean IoU": "val_mean_iou", "pixel accuracy": "val_pixel_accuracy"},
        percent=True,
    )
    loss_words: ClassVar[str] = "the mean cross entropy of a pixel"
    decoded_name: ClassVar[str] = "probabilities"

    @property
    def spec(self) -> TaskSpec:
        return SEGMENTATION

    def check(self, survey: Survey) -> None:
        """Raise VitrailError for fewer than two images or classes, or labels that are no maps."""
        survey.require_images(2)
        source = survey.source
        if source.label_kind != "maps" or not all(sample.labels for sample in source.samples):
            raise VitrailError(
                f"{source.name} has no map of classes for each image: segmentation needs masks, or polygons of objects"
            )
        if len(source.class_names) < 2:
            raise VitrailError(
                f"{source.name} has {len(source.class_names)} class of pixels: at least two are needed, of which one "
                "may be the background"
            )

    def example_target(self, config: ModelConfig, names: Names) -> MapTarget:
        return MapTarget(torch.zeros(pair(config.image_size), dtype=torch.int16))

    def match(self, source: Source, names: Names) -> Source:
        """Return the source with its classes in the model's order."""
        same_kind(self, source)
        unknown = [name for name in source.class_names if name not in names]
        if unknown:
            raise VitrailError(
                f"{source.name} has pixels of {', '.join(unknown[:5])}, which the checkpoint does not know: it has "
                f"{', '.join(names[:20])}. Rename the classes, or train with them"
            )
        order = tuple(list(names).index(name) for name in source.class_names)
        if order == tuple(range(len(names))):
            return replace(source, class_names=tuple(names))
        samples = tuple(
            replace(s, labels=tuple(MappedClasses(label, order) for label in s.labels)) for s in source.samples
        )
        return replace(source, class_names=tuple(names), samples=samples)

    def decode(
        self, output: Float[Tensor, "B K h w"], names: Names, top_k: int | None = None
    ) -> Sequence[MapPrediction]:
        """Predicted map of each image, at the resolution of the output."""
        found = []
        for classes in output.argmax(dim=1):
            shares = (classes.flatten().bincount(minlength=len(names)).double() / classes.numel()).tolist()
            found.append(MapPrediction(classes=classes, shares=tuple(zip(names, shares, strict=True))))
        return found

    def decoded(self, output: Float[Tensor, "B K h w"]) -> Float[Tensor, "B K h w"]:
        """Probabilities of the classes of each pixel."""
        return output.softmax(dim=1)

    def failed(self, path: str, error: str) -> MapPrediction:
        return MapPrediction(path=path, error=error)

    def columns(self, names: Names, top_k: int) -> dict[str, type[str] | type[float]]:
        """A column for each class: the fraction of the image that it covers."""
        return dict.fromkeys(names, float)

    def cells(self, prediction: MapPrediction, names: Names, top_k: int) -> list[str | float | None]:
        return [share for _, share in prediction.shares] or [None] * len(names)

    def to_dict(self, prediction: MapPrediction) -> dict[str, Any]:
        return {"shares": dict(prediction.shares)}

    def metrics(self, names: Names) -> SegmentationMetrics:
        return SegmentationMetrics(names)

    def errors(self, output: Float[Tensor, "B K h w"], target: Sequence[MapTarget]) -> Float[Tensor, " B"]:
        """Fraction of the labelled pixels of each image with a wrong class."""
        return torch.tensor([_wrong(logits, truth) for logits, truth in zip(output, target, strict=True)])

    def mistakes(
        self, output: Float[Tensor, "n K h w"], target: Sequence[MapTarget], names: Names, most: int
    ) -> list[Mistake]:
        """The images with the largest fraction of wrong pixels."""
        wrong = self.errors(output, target)
        return [
            Mistake(
                index=index,
                predicted=_largest(output[index].argmax(0), names),
                truth=_largest(target[index].values, names),
                size=f"{100 * wrong[index]:.0f} % of the pixels are wrong",
            )
            for index in wrong.argsort(descending=True, stable=True)[:most].tolist()
        ]

    def panels(
        self, image: UInt8[Tensor, "3 H W"], target: Any, output: Float[Tensor, "K h w"] | None, names: Names
    ) -> list[Panel]:
        size = (image.shape[1], image.shape[2])
        truth = placed(target if isinstance(target, MapTarget) else MapTarget(target), Window(), size).values
        panels = [Panel("truth", over_classes(image, truth, len(names)))]
        if output is not None:
            classes = resized_logits(output[None], size)[0].argmax(0)
            panels.append(Panel("prediction", over_classes(image, classes, len(names))))
        return panels

    def drawn(self, image: UInt8[Tensor, "3 H W"], prediction: MapPrediction, names: Names) -> dict[str, bytes]:
        """The image under the colours of its classes, and a grey PNG with the index of the class of each pixel."""
        assert prediction.classes is not None
        size = (image.shape[1], image.shape[2])
        classes = placed(MapTarget(prediction.classes), Window(), size).values
        return {
            ".png": png_bytes(over_classes(image, classes, len(names))),
            "-classes.png": index_png(classes),
        }

    def label_words(self, target: Any, names: Names) -> str:
        return _largest(target.values if isinstance(target, MapTarget) else target, names)

    def count_words(self, names: Names) -> str:
        return f"{len(names)} classes of pixels"

    def describe(self, names: Names) -> str:
        return f"a class for each pixel, one of {len(names)}: {', '.join(names)}"

    def report(self, evaluation: SegmentationEvaluation) -> list[str]:
        """HTML sections: a table of the classes."""
        note = "IoU: pixels of the class by truth and prediction, divided by those of the class by one of both."
        return [section("Classes", table(_HEAD, _rows(evaluation)), note)]

    def summary(self, evaluation: SegmentationEvaluation) -> str:
        loss = with_margin(f"{evaluation.loss:.4f}", None)
        overall = [("images", f"{evaluation.count:,}"), *evaluation.facts(), ("loss", loss)]
        tables = plain_table(overall[0], overall[1:]), plain_table(_HEAD, _rows(evaluation))
        return "\n\n".join([tables[0], *evaluation.cautions(), tables[1]])


_HEAD = ("class", "IoU", "share of the pixels")


def _rows(evaluation: SegmentationEvaluation) -> list[tuple[str, str, str]]:
    return [
        (one.name, "–" if one.iou is None else f"{100 * one.iou:.1f} %", f"{100 * one.pixels:.1f} %")
        for one in evaluation.classes
    ]


def _wrong(logits: Float[Tensor, "K h w"], truth: MapTarget) -> float:
    labelled = truth.values != IGNORED
    predicted = resized_logits(logits[None], truth.values.shape)[0].argmax(0)
    wrong = int(((predicted != truth.values) & labelled).sum())
    return wrong / max(1, int(labelled.sum()))


def _largest(classes: Int[Tensor, "h w"], names: Names) -> str:
    """The three classes that cover most of a map."""
    counts = classes[classes != IGNORED].long().bincount(minlength=len(names))
    order = [index for index in counts.argsort(descending=True, stable=True)[:3].tolist() if counts[index]]
    return ", ".join(names[index] for index in order) or "no labelled pixel"
