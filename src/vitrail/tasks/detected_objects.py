"""Objects that a detector has found: from its output to scores, classes and boxes."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from ..nn import DenseDetections, Detections, corners

MOST = 100
"""Most objects of an image, as in the evaluation on COCO."""
SAME = 0.6
"""IoU above which two boxes of a class are the same object (Tian et al., 2019, "FCOS", released code)."""
_CANDIDATES = 1000
"""Most (point, class) pairs of an image that are compared with each other."""


@dataclass(frozen=True, slots=True)
class DetectedObjects:
    """Objects found in one image, the most probable first unless stated.

    Attributes:
        scores: (n,), probabilities.
        classes: (n,), indices.
        boxes: (n, 4), left, top, right and bottom edges, as fractions of the image's sides, from 0 to 1.
    """

    scores: Float[Tensor, " n"]
    classes: Int[Tensor, " n"]
    boxes: Float[Tensor, "n 4"]

    def at_least(self, score: float) -> "DetectedObjects":
        """The objects whose score is at least this."""
        count = int((self.scores >= score).sum())
        return DetectedObjects(self.scores[:count], self.classes[:count], self.boxes[:count])


def detected_objects(output: Detections | DenseDetections, most: int = MOST) -> list[DetectedObjects]:
    """At most `most` objects of each image, the most probable first.

    A query of a DETR has one object, of its most probable class. A point of a dense detector may have one of each
    class; of boxes of the same class that overlap by more than `SAME`, the most probable is kept.
    """
    if isinstance(output, Detections):
        return [_sorted(image, most) for image in objects_of_queries(output)]
    boxes = corners(output.boxes).clamp(0, 1)
    return [_suppressed(*image, most) for image in zip(output.logits.sigmoid(), boxes, strict=True)]


def objects_of_queries(output: Detections) -> list[DetectedObjects]:
    """The most probable object of each query of each image, in the order of the queries."""
    scores, classes = output.logits.softmax(dim=2)[..., :-1].max(dim=2)
    boxes = corners(output.boxes).clamp(0, 1)
    return [DetectedObjects(*image) for image in zip(scores, classes, boxes, strict=True)]


def _sorted(found: DetectedObjects, most: int) -> DetectedObjects:
    kept = found.scores.argsort(descending=True, stable=True)[:most]
    return DetectedObjects(found.scores[kept], found.classes[kept], found.boxes[kept])


def _suppressed(probabilities: Float[Tensor, "Q K"], boxes: Float[Tensor, "Q 4"], most: int) -> DetectedObjects:
    # Imported here because torchvision takes a second, which only detectors should cost.
    from torchvision.ops import batched_nms

    scores, order = probabilities.flatten().topk(min(_CANDIDATES, probabilities.numel()))
    points, classes = order // probabilities.shape[1], order % probabilities.shape[1]
    kept = batched_nms(boxes[points].float(), scores.float(), classes, SAME)[:most]
    return DetectedObjects(scores[kept], classes[kept], boxes[points[kept]])
