"""Average precision against pycocotools, and what an evaluation says about it."""

import contextlib
import io
import math
from dataclasses import replace

import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vitrail.errors import VitrailError
from vitrail.nn import DenseDetections, Detections, centres
from vitrail.tasks.average_precision import TrueObjects
from vitrail.tasks.detected_objects import detected_objects
from vitrail.tasks.detection_metrics import DetectionMetrics

NAMES = ("cat", "cow", "dog")
SIZE = (200, 300)


def scene(images, objects, classes, seed=0, crowd=0.0, quality=0.03):
    """Outputs of a dense detector that finds most objects nearly, some twice, and some that are not there."""
    rng = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(*shape, generator=rng)

    start = 0.6 * rand(images, objects, 2)
    boxes = torch.cat([start, start + 0.02 + 0.4 * rand(images, objects, 2) ** 2], -1)
    labels = torch.randint(-1, classes, (images, objects), generator=rng)
    noise = quality * torch.randn(images, 3 * objects, 4, generator=rng)
    found = centres(torch.cat([boxes, boxes, boxes.flip(0)], 1) + noise)
    found[..., 2:] = found[..., 2:].abs()
    logits = 2 * torch.randn(images, 3 * objects, len(NAMES), generator=rng) - 2
    output = DenseDetections(logits, found, torch.zeros(images, 3 * objects, 2))
    crowds = rand(images, objects) < crowd
    there = labels >= 0
    return output, [
        TrueObjects(labels[n][there[n]], boxes[n][there[n]], crowds[n][there[n]], SIZE) for n in range(images)
    ]


def pycocotools(output, target):
    """(AP, AP50, AP75, small, medium, large, recall) and AP of each class; -1 where undefined."""
    height, width = SIZE
    scale = torch.tensor([width, height, width, height], dtype=torch.float64)

    def rows(boxes):
        edges = boxes.double() * scale
        return torch.cat([edges[:, :2], edges[:, 2:] - edges[:, :2]], 1).tolist()

    data = {
        "images": [{"id": n} for n in range(1, len(target) + 1)],
        "categories": [{"id": k} for k in range(1, len(NAMES) + 1)],
        "annotations": [],
    }
    for n, image in enumerate(target, start=1):
        for label, crowd, box in zip(image.classes.tolist(), image.crowd.tolist(), rows(image.boxes), strict=True):
            row = {"id": len(data["annotations"]) + 1, "image_id": n, "category_id": label + 1, "bbox": box}
            data["annotations"].append(row | {"area": box[2] * box[3], "iscrowd": int(crowd)})
    results = [
        {"image_id": n, "category_id": label + 1, "bbox": box, "score": score}
        for n, image in enumerate(detected_objects(output), start=1)
        for label, box, score in zip(
            image.classes.tolist(), rows(image.boxes), image.scores.double().tolist(), strict=True
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = data
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = evaluation.stats
    precision = evaluation.eval["precision"][..., 0, 2]
    classes = [precision[:, :, k][precision[:, :, k] > -1] for k in range(len(NAMES))]
    return [*stats[:6], stats[8]], [float(part.mean()) if part.size else -1 for part in classes]


@pytest.mark.parametrize(
    "options",
    [
        {"images": 12, "objects": 5, "classes": 3},
        {"images": 12, "objects": 5, "classes": 3, "quality": 0.005, "seed": 1},
        {"images": 12, "objects": 6, "classes": 3, "crowd": 0.3, "seed": 2},
        {"images": 6, "objects": 4, "classes": 1, "seed": 3},
        {"images": 3, "objects": 2, "classes": 0},  # no objects
        {"images": 3, "objects": 3, "classes": 2, "crowd": 1.0},  # only crowds
        {"images": 2, "objects": 60, "classes": 3, "seed": 4},  # more than 100 detections
    ],
)
def test_average_precision_equals_pycocotools(options):
    output, target = scene(**options)
    evaluation = DetectionMetrics(NAMES)
    half = len(target) // 2
    for part in (slice(None, half), slice(half, None)):
        evaluation.update(DenseDetections(output.logits[part], output.boxes[part], output.points[part]), target[part])
    found = evaluation.compute()
    stats, classes = pycocotools(output, target)
    ours = [found.ap, found.ap50, found.ap75, found.ap_small, found.ap_medium, found.ap_large, found.recall]
    undefined = [0.0] * 3 + [None] * 3 + [0.0]
    expected = [empty if stat == -1 else stat for stat, empty in zip(stats, undefined, strict=True)]
    assert ours == pytest.approx(expected, abs=1e-12)
    assert [row.ap for row in found.per_class] == pytest.approx(
        [None if value == -1 else value for value in classes], abs=1e-12
    )
    assert (found.quality, found.loss) == pytest.approx((found.ap, 1 - found.ap))
    assert found.objects == sum((~image.crowd).sum() for image in target)
    assert all(math.isfinite(value) for value in found.headline().values())


def test_a_perfect_detector_and_one_that_finds_nothing():
    output, target = scene(24, 3, 3, quality=0.0)
    logits = torch.full((24, 9, 3), -9.0)
    boxes = torch.rand(24, 9, 4)
    for n, image in enumerate(target):
        count = len(image.classes)
        boxes[n, :count] = centres(image.boxes)
        logits[n, :count] += 18 * torch.eye(3)[image.classes]
    metrics = DetectionMetrics(NAMES)
    metrics.update(DenseDetections(logits, boxes, output.points), target)
    perfect = metrics.compute()
    assert (perfect.ap50, perfect.ap75, perfect.recall) == pytest.approx((1, 1, 1))
    assert perfect.margin == pytest.approx(0, abs=1e-9)
    metrics = DetectionMetrics(NAMES)
    metrics.update(Detections(torch.zeros(2, 0, 4), torch.zeros(2, 0, 4)), scene(2, 3, 3)[1])
    assert metrics.compute().ap == 0


def test_an_evaluation_states_what_it_is_worth():
    output, target = scene(3, 2, 0)
    metrics = DetectionMetrics(NAMES)
    metrics.update(output, target)
    assert any("no objects in these images" in line for line in metrics.compute().cautions())
    output, target = scene(3, 4, 1)
    metrics = DetectionMetrics(NAMES)
    metrics.update(output, [replace(image, size=None) for image in target])
    found = metrics.compute()
    assert any("no objects of cow, dog" in line for line in found.cautions())
    assert (found.ap_small, found.ap_medium, found.ap_large) == (None, None, None)
    assert not any("small" in name for name, _ in found.facts())


def test_the_interval_covers_the_precision_of_other_images():
    """The deviation of AP between samples of 40 images is about what the jackknife of one of them states."""
    values, margins = [], []
    for seed in range(12):
        metrics = DetectionMetrics(NAMES)
        metrics.update(*scene(40, 4, 3, seed=seed))
        found = metrics.compute()
        assert metrics.quality() == found.quality
        values.append(found.ap)
        margins.append(found.margin)
    deviation = torch.tensor(values).std().item()
    assert 0.5 < sum(margins) / len(margins) / (2.26 * deviation) < 2


def test_outputs_that_are_not_finite_are_an_error():
    output, target = scene(2, 2, 2)
    output.boxes[0, 0, 0] = math.nan
    with pytest.raises(VitrailError, match="not finite"):
        DetectionMetrics(NAMES).update(output, target)
    with pytest.raises(VitrailError, match="no labelled images"):
        DetectionMetrics(NAMES).compute()
