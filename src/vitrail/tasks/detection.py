"""The detection task: boxes around the objects of an image, with their classes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.utils._pytree import tree_map

from ..data.coco_ids import CocoIds
from ..data.joint import BoxTarget, BoxTargets
from ..data.samples import Sample, Source
from ..data.survey import Survey
from ..data.targets import Targets
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import DenseDetections, Detections, corners
from ..pages.image import enlarge, png_bytes
from ..pages.overlay import with_boxes
from ..task_spec import DETECTION, TaskSpec
from .average_precision import TrueObjects, import_coco_eval
from .coco_document import CocoDocument
from .detected_objects import DetectedObjects, detected_objects, objects_of_queries
from .detection_metrics import DetectionEvaluation, DetectionMetrics
from .detection_report import object_sections, object_summary
from .object_errors import ObjectErrors, counted, object_errors
from .object_prediction import FoundObject, ObjectPrediction, QueriedObject
from .outcomes import Cells, Curve, Document, Metrics, Mistake, Names, Panel
from .placed import PlacedTask
from .shown_objects import SHOWN, fitted_threshold
from .task import same_kind

_PLANNED_OBJECTS = 8
"""Objects of an image in a plan of a training step."""


@dataclass(frozen=True, slots=True)
class BoxReader:
    """Index -> objects of a sample."""

    samples: tuple[Sample, ...]

    def __call__(self, index: int) -> BoxTarget:
        truth = true_objects(self.samples[index])
        return BoxTarget(truth.boxes, truth.classes, truth.crowd)


def true_objects(sample: Sample) -> TrueObjects:
    """Objects of a sample."""
    boxes = [(box.left, box.top, box.right, box.bottom) for box in sample.labels]
    return TrueObjects(
        torch.tensor([box.label for box in sample.labels], dtype=torch.long),
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor([box.crowd for box in sample.labels], dtype=torch.bool),
        sample.annotated_size,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection(PlacedTask):
    """Detection: outputs are `Detections` of a DETR or `DenseDetections`, labels a `Box` for each object.

    Attributes:
        threshold: probability from which an object is part of a prediction; average precision uses all. Training fits
            it on the validation split unless it is given, see `fitted_to`; None: `SHOWN`.
    """

    name: ClassVar[str] = "detection"
    card_type: ClassVar[str] = "object-detection"
    heads: ClassVar[tuple[str, ...]] = ("detection",)
    objective: ClassVar[str] = "detection"
    curve: ClassVar[Curve] = Curve(
        title="Validation average precision", columns={"AP": "val_ap", "AP50": "val_ap50", "AP75": "val_ap75"}
    )
    loss_words: ClassVar[str] = "1 - AP"
    decoded_name: ClassVar[str] = "detections"

    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise VitrailError(f"detection has a threshold of {self.threshold}: it is a probability, from 0 to 1")

    @property
    def spec(self) -> TaskSpec:
        return DETECTION if self.threshold is None else TaskSpec.of("detection", threshold=self.threshold)

    @property
    def limit(self) -> float:
        """The threshold that is used."""
        return SHOWN if self.threshold is None else self.threshold

    def check(self, survey: Survey) -> None:
        """Raise VitrailError for fewer than two images, labels that are no boxes, no object at all, or without the
        library that measures the quality."""
        import_coco_eval()
        survey.require_images(2)
        source = survey.source
        if source.label_kind != "boxes":
            raise VitrailError(f"{source.name} has no boxes: detection needs a box for each object")
        boxes = [box for sample in source.samples for box in sample.labels]
        if all(box.crowd for box in boxes):
            only = " but groups (iscrowd), which are no targets" if boxes else ""
            raise VitrailError(f"{source.name} has no object in any image{only}: there is nothing to learn")

    def classes_of(self, sample: Sample) -> set[int]:
        return {box.label for box in sample.labels}

    def targets(self, samples: Sequence[Sample], names: Names) -> list[TrueObjects]:
        """The objects of each sample."""
        return [true_objects(sample) for sample in samples]

    def target_reader(self, samples: Sequence[Sample], names: Names) -> Targets:
        return BoxReader(tuple(samples))

    def example_target(self, config: ModelConfig, names: Names) -> BoxTarget:
        boxes = torch.tensor([[0.25, 0.25, 0.75, 0.75]] * _PLANNED_OBJECTS)
        return BoxTarget(boxes, torch.zeros(len(boxes), dtype=torch.long), torch.zeros(len(boxes), dtype=torch.bool))

    def written(self, sample: Sample, names: Names) -> str:
        return counted(true_objects(sample).classes, names)

    def match(self, source: Source, names: Names) -> Source:
        """Return the source with class indices in the model's order; it may lack some of the model's classes."""
        same_kind(self, source)
        unknown = [name for name in source.class_names if name not in names]
        if unknown:
            raise VitrailError(
                f"{source.name} has objects of {', '.join(unknown[:5])}, which the checkpoint does not know: it has "
                f"{', '.join(names[:20])}. Rename the classes, or train with them"
            )
        order = [list(names).index(name) for name in source.class_names]
        samples = tuple(
            replace(s, labels=tuple(replace(box, label=order[box.label]) for box in s.labels)) for s in source.samples
        )
        return replace(source, class_names=tuple(names), samples=samples)

    def label_cells(self, source: Source, names: Names) -> list[Cells] | None:
        """Objects of each sample in words, of which the model need not have all classes."""
        if source.label_kind != "boxes" or not set(source.class_names) & set(names):
            return None
        return [(self.written(sample, source.class_names),) for sample in source.samples]

    def decode(
        self, output: Detections | DenseDetections, names: Names, top_k: int | None = None
    ) -> Sequence[ObjectPrediction]:
        """Objects of each image whose probability is at least the threshold."""
        return [ObjectPrediction(objects=_named(image, names)) for image in self.shown(output)]

    def shown(self, output: Detections | DenseDetections) -> list[DetectedObjects]:
        """Objects of each image whose probability is at least the threshold."""
        return [image.at_least(self.limit) for image in detected_objects(output)]

    def decoded(self, output: Detections | DenseDetections) -> Float[Tensor, "B Q D"]:
        """Edges of the box, and probability of each class, of every query or point, before duplicates are left out."""
        if isinstance(output, Detections):
            probabilities = output.logits.softmax(dim=2)[..., :-1]
        else:
            probabilities = output.logits.sigmoid()
        return torch.cat([corners(output.boxes).clamp(0, 1), probabilities], dim=2)

    def queried(self, output: Detections | DenseDetections, names: Names) -> Sequence[QueriedObject]:
        """The most probable object of each query; a dense detector has no queries."""
        if not isinstance(output, Detections):
            return ()
        objects = _named(objects_of_queries(output)[0], names)
        return [QueriedObject(one, one.score >= self.limit) for one in objects]

    def failed(self, path: str, error: str) -> ObjectPrediction:
        return ObjectPrediction(path=path, error=error)

    def columns(self, names: Names, top_k: int) -> dict[str, type[str] | type[float]]:
        """Number of objects, and each object with its probability and the edges of its box in pixels."""
        return {"count": float, "objects": str}

    def cells(self, prediction: ObjectPrediction, names: Names, top_k: int) -> list[str | float | None]:
        if prediction.objects is None:
            return [None, None]
        height, width = prediction.size or (1, 1)
        scale = (width, height, width, height)
        rows = []
        for one in prediction.objects:
            edges = (one.left, one.top, one.right, one.bottom)
            places = " ".join(f"{edge * side:.1f}" for edge, side in zip(edges, scale, strict=True))
            rows.append(f"{one.name} {one.score:.3f} {places}")
        return [float(len(rows)), "; ".join(rows)]

    def to_dict(self, prediction: ObjectPrediction) -> dict[str, Any]:
        """Objects with their class, probability, and box: left, top, right and bottom edge as fractions."""
        return {
            "objects": [
                {
                    "class": one.name,
                    "score": round(one.score, 6),
                    "box": [round(edge, 6) for edge in (one.left, one.top, one.right, one.bottom)],
                }
                for one in prediction.objects or ()
            ]
        }

    def document(self, names: Names, ids: CocoIds | None = None) -> Document:
        """A COCO JSON."""
        return CocoDocument(names, ids)

    def metrics(self, names: Names) -> DetectionMetrics:
        return DetectionMetrics(names, self.limit)

    @property
    def is_open(self) -> bool:
        return self.threshold is None

    def fitted_to(self, metrics: Metrics) -> "Detection":
        """The task with the threshold that gives the largest F1 at an IoU of 0.5; unchanged for few objects."""
        assert isinstance(metrics, DetectionMetrics)
        return replace(self, threshold=fitted_threshold(metrics.candidates()))

    def shown_from(self, threshold: float, names: Names) -> "Detection":
        return replace(self, threshold=threshold)

    def errors(self, output: Detections | DenseDetections, target: Sequence[TrueObjects]) -> Float[Tensor, " B"]:
        """Objects of each image that are missed or wrong, as a fraction of all true and predicted ones."""
        return torch.tensor([errors.share for errors in self._compared(output, target)])

    def mistakes(
        self, output: Detections | DenseDetections, target: Sequence[TrueObjects], names: Names, most: int
    ) -> list[Mistake]:
        """The images with the largest fraction of missed and wrong objects."""
        compared, shown = self._compared(output, target), self.shown(output)
        order = sorted(range(len(compared)), key=lambda index: -compared[index].share)
        return [
            Mistake(
                index=index,
                predicted=counted(shown[index].classes, names),
                truth=counted(target[index].classes, names),
                size=f"{compared[index].missed} missed, {compared[index].wrong} wrong",
            )
            for index in order[:most]
        ]

    def _compared(self, output: Detections | DenseDetections, target: Sequence[TrueObjects]) -> list[ObjectErrors]:
        return [object_errors(found, truth) for found, truth in zip(self.shown(output), target, strict=True)]

    def panels(self, image: UInt8[Tensor, "3 H W"], target: Any, output: Any, names: Names) -> list[Panel]:
        truth, image = _one(target), enlarge(image)
        words = [names[index] for index in truth.classes]
        panels = [Panel("truth", with_boxes(image, truth.boxes, truth.classes, words, len(names)))]
        if output is not None:
            (found,) = self.shown(tree_map(lambda values: values[None], output))
            words = [f"{names[index]} {score:.2f}" for index, score in zip(found.classes, found.scores, strict=True)]
            panels.append(Panel("prediction", with_boxes(image, found.boxes, found.classes, words, len(names))))
        return panels

    def drawn(self, image: UInt8[Tensor, "3 H W"], prediction: ObjectPrediction, names: Names) -> dict[str, bytes]:
        """The image with a box around each object."""
        found = prediction.objects or ()
        boxes = torch.tensor([(one.left, one.top, one.right, one.bottom) for one in found]).reshape(-1, 4)
        classes = torch.tensor([list(names).index(one.name) for one in found], dtype=torch.long)
        words = [f"{one.name} {one.score:.2f}" for one in found]
        return {".png": png_bytes(with_boxes(image, boxes, classes, words, len(names)))}

    def label_words(self, target: Any, names: Names) -> str:
        return counted(_one(target).classes, names)

    def count_words(self, names: Names) -> str:
        return f"{len(names)} class{'es' * (len(names) != 1)} of objects"

    def describe(self, names: Names) -> str:
        return f"boxes around objects of {len(names)} class{'es' * (len(names) != 1)}: {', '.join(names)}"

    def report(self, evaluation: DetectionEvaluation) -> list[str]:
        return object_sections(evaluation)

    def summary(self, evaluation: DetectionEvaluation) -> str:
        return object_summary(evaluation)


def _named(found: DetectedObjects, names: Names) -> tuple[FoundObject, ...]:
    rows = zip(found.classes.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
    return tuple(FoundObject(names[kind], score, *box) for kind, score, box in rows)


def _one(target: "TrueObjects | BoxTarget | BoxTargets") -> TrueObjects:
    """Objects of one image: of an evaluation, or one row of a training batch, whose padding is left out."""
    if isinstance(target, TrueObjects):
        return target
    there = target.labels >= 0
    return TrueObjects(target.labels[there], target.boxes[there], target.crowd[there])
