"""Detection: labels to targets, outputs to objects, errors, and words; suppression against a loop."""

import io
import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from vitrail.data.annotations import Box
from vitrail.data.coco_ids import coco_ids
from vitrail.data.joint import BoxTarget, BoxTargets
from vitrail.data.samples import FileAt, Sample, Source
from vitrail.data.survey import Survey
from vitrail.errors import VitrailError
from vitrail.evaluation.prediction_layout import Layout
from vitrail.evaluation.prediction_table import write_table
from vitrail.nn import DenseDetections, Detections, centres, corners, overlaps
from vitrail.task_spec import DETECTION, TaskSpec
from vitrail.tasks.average_precision import TrueObjects
from vitrail.tasks.classification import Classification
from vitrail.tasks.coco_document import CocoDocument
from vitrail.tasks.detected_objects import SAME, DetectedObjects, detected_objects
from vitrail.tasks.detection import Detection
from vitrail.tasks.detection_metrics import DetectionMetrics
from vitrail.tasks.object_errors import object_errors
from vitrail.tasks.object_prediction import FoundObject, ObjectPrediction
from vitrail.tasks.registry import resolve
from vitrail.tasks.regression import Regression
from vitrail.tasks.shown_objects import candidates, fitted_threshold, shown_score
from vitrail.tasks.universal import Universal

NAMES = ("cat", "cow", "dog")
LABELS = (Box(0, 0.1, 0.2, 0.5, 0.6), Box(2, 0.0, 0.0, 1.0, 0.9), Box(2, 0.3, 0.3, 0.4, 0.4, crowd=True))


def sample(*labels, size=(100, 200)):
    return Sample("a.png", labels, None, FileAt("none"), annotated_size=size)


def source(*rows, names=NAMES):
    samples = tuple(sample(*row) for row in rows)
    return Source("farm", names, samples, DETECTION, label_kind="boxes")


def dense(boxes, logits):
    return DenseDetections(
        torch.tensor(logits), centres(torch.tensor(boxes)), torch.zeros(len(boxes), len(boxes[0]), 2)
    )


def test_labels_become_targets_of_training_and_of_evaluation():
    task = Detection()
    (truth,) = task.targets([sample(*LABELS)], NAMES)
    assert (truth.classes.tolist(), truth.crowd.tolist()) == ([0, 2, 2], [False, False, True])
    assert truth.size == (100, 200)
    torch.testing.assert_close(truth.boxes[0], torch.tensor([0.1, 0.2, 0.5, 0.6]))
    read = task.target_reader([sample(), sample(*LABELS)], NAMES)
    assert (read(0).boxes.shape, read(1).labels.tolist()) == ((0, 4), [0, 2, 2])
    batch = BoxTarget.batch([read(0), read(1)])
    assert batch.labels.tolist() == [[-1, -1, -1], [0, 2, 2]]
    assert torch.equal(batch.boxes[1], read(1).boxes)
    row = BoxTargets(batch.boxes[1], batch.labels[1], batch.crowd[1])
    assert task.label_words(row, NAMES) == task.written(sample(*LABELS), NAMES) == "2 dog, 1 cat"
    assert task.written(sample(), NAMES) == "no objects"


def test_the_task_survives_its_spec():
    assert resolve(DETECTION) == Detection()
    task = Detection(threshold=0.5)
    assert resolve(TaskSpec.from_dict(json.loads(json.dumps(task.spec.to_dict())))) == task
    with pytest.raises(VitrailError, match="threshold of 2: it is a probability"):
        Detection(threshold=2)


def test_sources_are_matched_by_the_names_of_their_classes():
    matched = Detection().match(source(LABELS, names=("dog", "cow", "cat")), NAMES)
    assert [box.label for box in matched.samples[0].labels] == [2, 0, 0]
    with pytest.raises(VitrailError, match="has objects of horse, which the checkpoint does not know"):
        Detection().match(source((), names=("horse",)), NAMES)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (source((), ()), "has no object in any image"),
        (source(LABELS[2:], ()), "has no object in any image"),
        (replace(source(LABELS, ()), label_kind="classes"), "has no boxes"),
    ],
)
def test_labels_that_cannot_be_learned_are_an_error(given, words):
    with pytest.raises(VitrailError, match=words):
        Detection().check(Survey(given, (), ()))


def test_suppression_equals_a_loop():
    rng = torch.Generator().manual_seed(0)
    start = 0.6 * torch.rand(2, 40, 2, generator=rng)
    boxes = torch.cat([start, start + 0.1 + 0.3 * torch.rand(2, 40, 2, generator=rng)], -1)
    output = DenseDetections(torch.randn(2, 40, 3, generator=rng), centres(boxes), start)
    for n, found in enumerate(detected_objects(output, most=30)):
        pairs = [(output.logits[n, q, k].sigmoid().item(), q, k) for q in range(40) for k in range(3)]
        kept = []
        for score, q, k in sorted(pairs, reverse=True):
            others = [boxes[n, other] for _, other, kind in kept if kind == k]
            if all(overlaps(boxes[n, q], other)[0] <= SAME for other in others):
                kept.append((score, q, k))
        kept = kept[:30]
        assert found.scores.tolist() == pytest.approx([score for score, _, _ in kept])
        assert found.classes.tolist() == [k for _, _, k in kept]
        torch.testing.assert_close(found.boxes, corners(output.boxes[n, [q for _, q, _ in kept]]).clamp(0, 1))


def test_a_query_of_a_detr_is_one_object_of_its_most_probable_class():
    logits = torch.tensor([[[0.0, 2.0, 1.0, 0.5], [3.0, 0.0, 0.0, 9.0], [4.0, 0.0, 0.0, 0.0]]])
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2], [0.9, 0.5, 0.4, 0.2]]])
    (found,) = detected_objects(Detections(logits, boxes))
    assert found.classes.tolist() == [0, 1, 0]
    assert found.scores.tolist() == pytest.approx(
        [logits[0, q].softmax(0)[k].item() for q, k in [(2, 0), (0, 1), (1, 0)]]
    )
    torch.testing.assert_close(found.boxes[0], torch.tensor([0.7, 0.4, 1.0, 0.6]))  # cut at the image's edge
    assert len(found.at_least(0.5).scores) == 2


def test_predictions_in_every_form():
    task = Detection()
    output = dense([[[0.1, 0.2, 0.5, 0.6], [0.0, 0.0, 0.2, 0.2]]], [[[4.0, -9.0, -9.0], [-9.0, -2.0, -9.0]]])
    (prediction,) = task.decode(output, NAMES)
    (one,) = prediction.objects  # the cow is below the threshold
    assert (one.name, one.score) == ("cat", pytest.approx(torch.tensor(4.0).sigmoid().item()))
    given = replace(prediction, size=(100, 200))
    assert task.cells(given, NAMES, 5) == [1.0, "cat 0.982 20.0 20.0 100.0 60.0"]
    assert task.to_dict(given)["objects"][0]["box"] == pytest.approx([0.1, 0.2, 0.5, 0.6], abs=1e-6)
    assert task.cells(task.failed("a.png", "broken"), NAMES, 5) == [None, None]
    assert list(task.columns(NAMES, 5)) == ["count", "objects"]
    exported = task.decoded(output)
    torch.testing.assert_close(
        exported[0, 0], torch.tensor([0.1, 0.2, 0.5, 0.6, *torch.tensor([4.0, -9, -9]).sigmoid()])
    )
    (pixels,) = task.drawn(torch.zeros(3, 40, 60, dtype=torch.uint8), prediction, NAMES).values()
    assert Image.open(io.BytesIO(pixels)).size == (60, 40)


def random_images(count, rng):
    """Detected and true objects of images: true boxes, and copies of some of them that are moved a little."""
    found, truth = [], []
    for _ in range(count):
        start = 0.6 * torch.rand(6, 2, generator=rng)
        boxes = torch.cat([start, start + 0.2 + 0.2 * torch.rand(6, 2, generator=rng)], 1)
        classes = torch.randint(2, (6,), generator=rng)
        moved = (boxes + 0.06 * torch.randn(6, 4, generator=rng)).repeat(2, 1)
        scores = torch.rand(12, generator=rng).round(decimals=2).sort(descending=True).values
        order = torch.randperm(12, generator=rng)
        found.append(DetectedObjects(scores, classes.repeat(2)[order], moved[order]))
        truth.append(TrueObjects(classes, boxes, torch.rand(6, generator=rng) < 0.15))
    return found, truth


def test_the_threshold_has_the_largest_f1_of_all():
    """Against counting the errors of what each threshold shows, object by object."""
    found, truth = random_images(12, torch.Generator().manual_seed(0))
    given = candidates(found, truth)

    def f1(threshold):
        errors = [object_errors(a.at_least(threshold), b) for a, b in zip(found, truth, strict=True)]
        right = sum(one.found for one in errors)
        return 2 * right / (2 * right + sum(one.missed + one.wrong for one in errors))

    every = [f1(step / 200) for step in range(201)]
    threshold = fitted_threshold(given)
    assert f1(threshold) == max(every) > every[-1]
    for step in (0, 0.1, 0.35, 0.7, 1.0):
        assert shown_score(given, step).f1 == pytest.approx(f1(step))
    score = shown_score(given, 0.35)
    assert score.f1 == pytest.approx(2 * score.precision * score.recall / (score.precision + score.recall))
    assert fitted_threshold(candidates(found[:4], truth[:4])) is None, "24 objects at most are too few"
    nothing = replace(given, right=torch.zeros_like(given.right))
    assert fitted_threshold(nothing) is None


def test_a_threshold_is_fitted_unless_it_is_given():
    found, truth = random_images(12, torch.Generator().manual_seed(1))
    metrics = DetectionMetrics(NAMES)
    metrics.found, metrics.truth = found, truth
    task = Detection().fitted_to(metrics)
    assert task.threshold == fitted_threshold(candidates(found, truth)) not in (None, 0.3)
    assert (Detection().is_open, task.is_open, Detection(threshold=0.3).is_open) == (True, False, False)
    assert resolve(TaskSpec.from_dict(json.loads(json.dumps(task.spec.to_dict())))) == task
    assert Detection().continued(task.spec) == Detection(), "another training fits its own"
    scored = task.metrics(NAMES)
    scored.found, scored.truth = found, truth
    evaluation = scored.compute()
    assert (evaluation.shown.threshold, evaluation.usual.threshold) == (task.threshold, 0.3)
    assert evaluation.shown.f1 > evaluation.usual.f1
    assert f"from a probability of {task.threshold:.3f} on" in task.summary(evaluation)
    assert "Objects that predictions show" in task.report(evaluation)[1]
    assert task.shown_from(0.0, NAMES) == Detection(threshold=0.0)


def test_only_predictions_with_a_threshold_take_another():
    assert Classification(labels="many").shown_from(0.2, NAMES).thresholds == (0.2, 0.2, 0.2)
    with pytest.raises(VitrailError, match="each image has one class, without a threshold"):
        Classification().shown_from(0.2, NAMES)
    with pytest.raises(VitrailError, match="predictions of regression have no threshold: leave --threshold out"):
        Regression().shown_from(0.2, NAMES)
    with pytest.raises(VitrailError, match="this checkpoint finds no objects"):
        Universal(tasks=("depth",)).shown_from(0.2, NAMES)


def test_errors_count_missed_and_wrong_objects():
    truth = TrueObjects(
        torch.tensor([0, 2, 1]),
        torch.tensor([[0.0, 0.0, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9], [0.0, 0.5, 0.4, 1.0]]),
        torch.tensor([False, False, True]),
    )
    found = DetectedObjects(
        torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5]),
        torch.tensor([0, 0, 1, 1, 2]),
        torch.tensor(
            [
                [0.0, 0.0, 0.4, 0.3],  # found
                [0.0, 0.0, 0.4, 0.4],  # the same object again: wrong
                [0.0, 0.5, 0.4, 1.0],  # in the crowd: neither
                [0.5, 0.5, 0.9, 0.9],  # another class: wrong
                [0.6, 0.6, 1.0, 1.0],  # too little overlap: wrong, and the dog is missed
            ]
        ),
    )
    errors = object_errors(found, truth)
    assert (errors.found, errors.missed, errors.wrong) == (1, 1, 3)
    assert errors.share == pytest.approx(4 / 5)
    none = DetectedObjects(torch.zeros(0), torch.zeros(0, dtype=torch.long), torch.zeros(0, 4))
    empty = TrueObjects(torch.zeros(0, dtype=torch.long), torch.zeros(0, 4), torch.zeros(0, dtype=torch.bool))
    assert object_errors(none, empty).share == 0
    assert (object_errors(none, truth).missed, object_errors(found, empty).wrong) == (2, 5)


def test_the_worst_images_are_shown_beside_their_truth():
    task = Detection()
    output = dense([[[0.1, 0.2, 0.5, 0.6]], [[0.1, 0.2, 0.5, 0.6]]], [[[4.0, -9.0, -9.0]], [[-9.0, 4.0, -9.0]]])
    targets = task.targets([sample(LABELS[0]), sample(LABELS[0])], NAMES)
    assert task.errors(output, targets).tolist() == [0, 1]
    worst, best = task.mistakes(output, targets, NAMES, 5)
    assert (worst.index, worst.predicted, worst.truth, worst.size) == (1, "1 cow", "1 cat", "1 missed, 1 wrong")
    assert best.size == "0 missed, 0 wrong"
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    one = DenseDetections(output.logits[1], output.boxes[1], output.points[1])
    truth, prediction = task.panels(image, targets[1], one, NAMES)
    assert (truth.caption, prediction.caption) == ("truth", "prediction")
    # The left edge of both boxes, in the colours of their classes.
    edges = [panel.image[:, 140, 26].tolist() for panel in (truth, prediction)]
    assert edges[0] != edges[1]
    assert [0, 0, 0] not in edges


def test_ids_of_a_coco_json_are_kept(tmp_path):
    images = [{"id": 7, "file_name": "a.png"}, {"id": 40, "file_name": "more/b.png"}]
    content = {"images": images, "annotations": [], "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "fox"}]}
    (tmp_path / "set.json").write_text(json.dumps(content))
    ids = coco_ids([tmp_path / "set.json"])
    assert ids == coco_ids([str(tmp_path)])
    document = CocoDocument(("cat", "dog"), ids)
    for name in ("images/more/b.png", "images/a.png", "other.png"):
        box = FoundObject("cat", 0.5, left=0, top=0, right=1, bottom=1)
        document.add(ObjectPrediction(path=name, size=(4, 4), objects=(box,)))
    found = document.content()
    assert [image["id"] for image in found["images"]] == [40, 7, 41]
    assert [one["image_id"] for one in found["annotations"]] == [40, 7, 41]
    assert found["categories"] == [{"id": 19, "name": "cat"}, {"id": 18, "name": "dog"}]
    assert coco_ids([tmp_path / "set.json", tmp_path]) is None
    assert coco_ids([tmp_path / "photo.png"]) is None


def test_an_image_without_objects_is_a_prediction():
    assert Detection().cells(ObjectPrediction(objects=()), NAMES, 5) == [0.0, ""]


def test_a_json_file_of_predictions_is_a_coco_json(tmp_path):
    from pycocotools.coco import COCO

    path = tmp_path / "boxes.json"
    found = ObjectPrediction(
        path="a.png", size=(40, 80), objects=(FoundObject("dog", 0.75, left=0.25, top=0.5, right=0.5, bottom=1.0),)
    )
    names = ("cat", "dog")
    layout = Layout(Detection(), names, 5)
    write_table([found, Detection().failed("b.png", "gone")], layout, "json", path)
    read = COCO(str(path))
    (box,) = read.loadAnns(read.getAnnIds())
    assert box["bbox"] == [20.0, 20.0, 20.0, 20.0]
    assert (box["score"], box["area"]) == (0.75, 400.0)
    assert read.loadCats([box["category_id"]]) == [{"id": 2, "name": "dog"}]
    assert read.loadImgs([box["image_id"]]) == [{"id": 1, "file_name": "a.png", "width": 80, "height": 40}]
    assert json.loads(path.read_text())["errors"] == [{"file_name": "b.png", "error": "gone"}]
