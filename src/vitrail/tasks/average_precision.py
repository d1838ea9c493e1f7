"""Average precision and recall of detected objects, by faster-coco-eval, whose results are those of pycocotools."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..errors import VitrailError
from .detected_objects import MOST, DetectedObjects
from .worth import GROUPS, jackknife_margin


@dataclass(frozen=True, slots=True)
class TrueObjects:
    """Objects that are in one image.

    Attributes:
        classes: (n,), indices.
        boxes: (n, 4), left, top, right and bottom edges, as fractions of the image's sides.
        crowd: (n,), groups of objects, in which detections are neither right nor wrong.
        size: height and width of the image in pixels, by which objects are small, medium or large; None if not known.
    """

    classes: Int[Tensor, " n"]
    boxes: Float[Tensor, "n 4"]
    crowd: Bool[Tensor, " n"]
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Precision:
    """Precision and recall, averaged over classes and over IoUs of 0.5, 0.55, ... 0.95 (Lin et al., 2014, "COCO").

    None for what there are no objects for.

    Attributes:
        ap, ap50, ap75: average precision, and that at an IoU of 0.5 and of 0.75.
        small, medium, large: `ap` of objects of less than 32², of up to 96², and of more square pixels; None too if
            sizes of images are not known.
        recall: share of the objects that are found, of at most 100 detections in an image.
        classes: `ap` and `ap50` of each class.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    small: float | None
    medium: float | None
    large: float | None
    recall: float | None
    classes: tuple[tuple[float | None, float | None], ...]


def average_precision(
    found: Sequence[DetectedObjects], truth: Sequence[TrueObjects], num_classes: int, *, interval: bool = True
) -> tuple[Precision, float | None]:
    """Precision and recall, and half of the 95 % interval of `ap`.

    The interval is that of a jackknife over groups of images, see `jackknife_margin`; None for fewer than two images of
    each group, or if all objects are in one of the groups.

    Args:
        found, truth: objects of each image, in the same order.
        num_classes: number of classes K.
        interval: False leaves out the interval, which takes most of the time, and is None then.

    Raises:
        VitrailError: faster-coco-eval is not installed.
    """
    evaluation = _evaluation(found, truth, num_classes)
    images = list(range(1, len(truth) + 1))
    whole = _precision(evaluation, images, sized=all(image.size is not None for image in truth))
    if not interval or len(images) < 2 * GROUPS:
        return whole, None
    evaluation.params.areaRng = evaluation.params.areaRng[:1]
    rest = [[image for image in images if image % GROUPS != group] for group in range(GROUPS)]
    values = [value for part in rest if (value := _mean(_precisions(evaluation, part)[0])) is not None]
    return whole, jackknife_margin(values) if len(values) == GROUPS else None


def import_coco_eval() -> Any:
    """The module faster_coco_eval.

    Raises:
        VitrailError: it is not installed.
    """
    try:
        import faster_coco_eval
    except ImportError:
        raise VitrailError("average precision needs faster-coco-eval: run `pip install 'vitrail[detection]'`") from None
    return faster_coco_eval


def _evaluation(found: Sequence[DetectedObjects], truth: Sequence[TrueObjects], num_classes: int) -> Any:
    coco = import_coco_eval()
    images = [{"id": number} for number in range(1, len(truth) + 1)]
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(truth, start=1):
        boxes = _pixels(image.boxes, image.size)
        for kind, box, crowd in zip(image.classes.tolist(), boxes, image.crowd.tolist(), strict=True):
            row = {"id": len(annotations) + 1, "image_id": number, "category_id": kind + 1, "bbox": box}
            annotations.append(row | {"area": box[2] * box[3], "iscrowd": int(crowd)})
    results = [
        {"image_id": number, "category_id": kind + 1, "bbox": box, "score": score}
        for number, (objects, image) in enumerate(zip(found, truth, strict=True), start=1)
        for kind, score, box in zip(
            objects.classes.tolist(), objects.scores.tolist(), _pixels(objects.boxes, image.size), strict=True
        )
    ]
    categories = [{"id": number, "name": str(number)} for number in range(1, num_classes + 1)]
    data = coco.COCO({"images": images, "annotations": annotations, "categories": categories})
    return coco.COCOeval_faster(data, data.loadRes(results), "bbox")


def _pixels(boxes: Float[Tensor, "n 4"], size: tuple[int, int] | None) -> list[list[float]]:
    """Left, top, width and height in pixels, or as fractions of an image of unknown size."""
    height, width = size or (1, 1)
    edges = boxes.double() * boxes.new_tensor([width, height, width, height]).double()
    left_top, right_bottom = edges.split(2, dim=1)
    rows: list[list[float]] = np.concatenate([left_top.numpy(), (right_bottom - left_top).numpy()], axis=1).tolist()
    return rows


def _precisions(evaluation: Any, images: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Precisions (IoU, recall, class, area, number), and recalls (IoU, class, area, number), on some of the images."""
    evaluation.params.imgIds = images
    evaluation.params.maxDets = [MOST]
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"], evaluation.eval["recall"]


def _precision(evaluation: Any, images: list[int], *, sized: bool) -> Precision:
    precision, recall = _precisions(evaluation, images)
    every = precision[..., 0, -1]
    return Precision(
        ap=_mean(every),
        ap50=_mean(every[0]),
        ap75=_mean(every[5]),
        small=_mean(precision[..., 1, -1]) if sized else None,
        medium=_mean(precision[..., 2, -1]) if sized else None,
        large=_mean(precision[..., 3, -1]) if sized else None,
        recall=_mean(recall[..., 0, -1]),
        classes=tuple((_mean(every[:, :, kind]), _mean(every[0, :, kind])) for kind in range(every.shape[2])),
    )


def _mean(values: np.ndarray) -> float | None:
    """Mean of what is defined; -1 stands for what is not."""
    known = values[values > -1]
    return float(known.mean()) if known.size else None
