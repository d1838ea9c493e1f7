"""Segmentation: metrics against torchmetrics, losses against loops, and the task's words."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from vitrail.data.annotations import IGNORED
from vitrail.data.joint import MapTarget
from vitrail.data.samples import FileAt, Sample, Source
from vitrail.errors import VitrailError
from vitrail.objectives.segmentation import SegmentationConfig, dice_loss, pixel_cross_entropy
from vitrail.task_spec import SEGMENTATION
from vitrail.tasks.maps import MappedClasses
from vitrail.tasks.segmentation import Segmentation
from vitrail.tasks.segmentation_metrics import SegmentationMetrics

NAMES = ("background", "cat", "dog", "owl")
TASK = Segmentation()


class Drawn:
    """A map in memory."""

    def __init__(self, values):
        self.values = values

    def read(self):
        return self.values


def random_maps(count=5, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, 6, 8, generator=generator)
    maps = torch.randint(-1, classes, (count, 12, 10), generator=generator).short()
    return logits, [MapTarget(one) for one in maps]


def oracle(logits, targets, classes=4):
    """The predicted classes at the size of each map, by torch's own interpolation, and torchmetrics' numbers."""
    iou = MulticlassJaccardIndex(classes, average="macro", ignore_index=IGNORED)
    accuracy = MulticlassAccuracy(classes, average="micro", ignore_index=IGNORED)
    for one, target in zip(logits, targets, strict=True):
        full = torch.nn.functional.interpolate(one[None], tuple(target.values.shape), mode="bilinear")
        iou.update(full.argmax(1), target.values[None].long())
        accuracy.update(full.argmax(1), target.values[None].long())
    return iou.compute().item(), accuracy.compute().item()


def evaluated(logits, targets, names=NAMES):
    metrics = SegmentationMetrics(names)
    metrics.update(logits[:2], targets[:2])
    metrics.update(logits[2:], targets[2:])
    return metrics.compute()


def test_metrics_are_those_of_torchmetrics():
    logits, targets = random_maps()
    found = evaluated(logits, targets)
    iou, accuracy = oracle(logits, targets)
    assert found.mean_iou == pytest.approx(iou, abs=1e-6)
    assert found.pixel_accuracy == pytest.approx(accuracy, abs=1e-6)
    assert found.interval is not None
    assert found.interval[0] < found.mean_iou < found.interval[1]
    assert found.ignored == pytest.approx(sum((t.values == IGNORED).float().mean().item() for t in targets) / 5)
    assert found.quality == found.mean_iou


def test_classes_that_occur_nowhere_do_not_count():
    logits, targets = random_maps(classes=3)
    more = torch.cat([logits, torch.full((5, 1, 6, 8), -100.0)], dim=1)
    found = evaluated(more, targets)
    assert found.mean_iou == pytest.approx(oracle(more, targets)[0], abs=1e-6)
    assert [one.iou is None for one in found.classes] == [False, False, False, True]


def test_a_perfect_prediction_and_one_class_alone():
    targets = [MapTarget(torch.full((4, 4), 2, dtype=torch.int16))] * 3
    right = torch.zeros(3, 4, 4, 4)
    right[:, 2] = 9.0
    found = evaluated(right, targets)
    assert (found.mean_iou, found.pixel_accuracy, found.interval) == (1.0, 1.0, (1.0, 1.0))
    assert found.baseline().value == "mean IoU 100.0 %"


def test_maps_without_a_labelled_pixel_are_an_error():
    with pytest.raises(VitrailError, match="every pixel of the maps is ignored"):
        evaluated(torch.zeros(3, 4, 2, 2), [MapTarget(torch.full((2, 2), IGNORED, dtype=torch.int16))] * 3)
    with pytest.raises(VitrailError, match="no labelled images"):
        SegmentationMetrics(NAMES).compute()


def test_losses_are_those_of_a_loop():
    logits, targets = random_maps()
    target = torch.stack([one.values for one in targets]).long()
    logits = torch.nn.functional.interpolate(logits, (12, 10), mode="bilinear").double()
    total, count = 0.0, 0
    for image in range(5):
        for row in range(12):
            for column in range(10):
                if (label := int(target[image, row, column])) != IGNORED:
                    total -= logits[image, :, row, column].log_softmax(0)[label].item()
                    count += 1
    assert pixel_cross_entropy(logits, target).item() == pytest.approx(total / count, abs=1e-9)
    scores = []
    kept = (target != IGNORED).numpy()
    probabilities = logits.softmax(1).numpy()
    for label in range(4):
        true = (target.numpy() == label) & kept
        p = probabilities[:, label] * kept
        scores.append(2 * (p * true).sum() / (p.sum() + true.sum()))
    assert dice_loss(logits, target).item() == pytest.approx(1 - np.mean(scores), abs=1e-9)


def test_losses_of_ignored_maps_and_absent_classes_are_finite(seeded):
    logits = torch.randn(2, 4, 3, 3, requires_grad=True)
    ignored = torch.full((2, 3, 3), IGNORED)
    total = pixel_cross_entropy(logits, ignored) + dice_loss(logits, ignored)
    total.backward()
    assert total.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))
    one = torch.zeros(2, 3, 3, dtype=torch.long)
    right = torch.zeros(2, 4, 3, 3)
    right[:, 0] = 50.0
    assert dice_loss(right, one).item() == pytest.approx(0.0, abs=1e-6)


def test_decoded_predictions():
    logits = torch.zeros(1, 4, 2, 2)
    logits[0, 1, 0] = 1.0
    logits[0, 3, 1] = 1.0
    (found,) = TASK.decode(logits, NAMES)
    assert found.classes.tolist() == [[1, 1], [3, 3]]
    assert dict(found.shares) == {"background": 0.0, "cat": 0.5, "dog": 0.0, "owl": 0.5}
    files = TASK.drawn(torch.zeros(3, 8, 6, dtype=torch.uint8), found, NAMES)
    index = np.asarray(Image.open(io.BytesIO(files["-classes.png"])))
    assert index.shape == (8, 6)
    assert (index[:4] == 1).all()
    assert (index[4:] == 3).all()
    assert Image.open(io.BytesIO(files[".png"])).size == (6, 8)


def test_classes_are_matched_by_name():
    label = Drawn(torch.tensor([[0, 1], [2, IGNORED]], dtype=torch.int16))
    sample = Sample("a", (label,), None, FileAt("a"))
    source = Source("set", ("dog", "background", "owl"), (sample,), SEGMENTATION, label_kind="maps")
    matched = TASK.match(source, NAMES)
    assert matched.samples[0].labels == (MappedClasses(label, (2, 0, 3)),)
    assert matched.samples[0].labels[0].read().tolist() == [[2, 0], [3, IGNORED]]
    with pytest.raises(VitrailError, match="set has pixels of cow, which the checkpoint does not know"):
        TASK.match(Source("set", ("cow",), (sample,), SEGMENTATION, label_kind="maps"), NAMES)


@pytest.mark.parametrize(("field", "value"), [("dice", -1.0), ("label_smoothing", 1.0)])
def test_options_have_a_range(field, value):
    with pytest.raises(VitrailError, match=f"objective.{field} is {value}"):
        SegmentationConfig(**{field: value})


def test_the_worst_images_come_first():
    logits = torch.zeros(2, 2, 2, 2)
    logits[:, 1] = 1.0
    targets = [MapTarget(torch.tensor([[1, 1], [1, 0]])), MapTarget(torch.tensor([[0, 0], [IGNORED, 1]]))]
    assert TASK.errors(logits, targets).tolist() == pytest.approx([1 / 4, 2 / 3])
    worst = TASK.mistakes(logits, targets, ("sky", "sea"), 1)
    assert [(one.index, one.size) for one in worst] == [(1, "67 % of the pixels are wrong")]
    panels = TASK.panels(torch.zeros(3, 4, 4, dtype=torch.uint8), targets[0], logits[0], ("sky", "sea"))
    assert [panel.caption for panel in panels] == ["truth", "prediction"]
    assert not torch.equal(panels[0].image, panels[1].image)
