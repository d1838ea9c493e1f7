"""The objective of detection: the loss of each kind of detector, views with boxes, and a run on scenes."""

import json

import pytest
import torch

import vitrail
from vitrail.data.joint import BoxTarget, BoxTargets
from vitrail.data.loader import Batch
from vitrail.data.targets import Ragged
from vitrail.models.registry import create_model
from vitrail.objectives.dense_detection_loss import dense_detection_loss
from vitrail.objectives.detection import OVERLAP_WEIGHT, DetectionConfig
from vitrail.objectives.objective import Moment
from vitrail.objectives.set_loss import set_loss
from vitrail.task_spec import DETECTION

TARGETS = BoxTargets(
    torch.tensor([[[0.1, 0.2, 0.5, 0.6], [0.5, 0.5, 1.0, 1.0]], [[0.0, 0.0, 0.4, 0.4], [0.0, 0.0, 0.0, 0.0]]]),
    torch.tensor([[0, 2], [1, -1]]),
    torch.tensor([[False, True], [False, False]]),
)
LEARNED = torch.tensor([[0, -1], [1, -1]])
"""Labels without the crowd."""
TINY = {"image_size": 32, "embed_dim": 16, "depth": 1, "num_heads": 2, "mlp_ratio": 2.0, "num_classes": 3}


def test_a_dense_detector_has_the_dense_loss_without_crowds():
    torch.manual_seed(0)
    model = create_model("compact_detector_small_128", **TINY).eval()
    pixels = torch.randn(2, 3, 32, 32)
    loss = DetectionConfig().build(model, None)(Batch(pixels, TARGETS), Moment(0))
    expected = dense_detection_loss(model(pixels), TARGETS.boxes, LEARNED)
    torch.testing.assert_close(loss.total, expected.classes + OVERLAP_WEIGHT * expected.overlap)
    assert set(loss.parts) == {"classes", "overlap"}


def test_every_block_of_a_detr_has_the_set_loss():
    torch.manual_seed(0)
    sizes = {**TINY, "object_classes": 3, "patch_size": 8, "decoder_depth": 3, "num_queries": 4}
    model = create_model("universal_vit_tiny_patch16_224", tasks=("detection",), **sizes).eval()
    pixels = torch.randn(2, 3, 32, 32)
    loss = DetectionConfig().build(model, None)(Batch(pixels, TARGETS), Moment(0))
    blocks = model.head.forward_blocks(model.forward_features(pixels))
    totals = [set_loss(block, TARGETS.boxes, LEARNED).total for block in blocks]
    torch.testing.assert_close(loss.total, sum(totals))
    torch.testing.assert_close(loss.parts["edges"], set_loss(model(pixels), TARGETS.boxes, LEARNED).edges)


def test_groups_of_queries_have_the_mean_of_their_losses_and_only_the_first_is_kept():
    torch.manual_seed(0)
    sizes = {**TINY, "object_classes": 3, "patch_size": 8, "decoder_depth": 2, "num_queries": 4}
    model = create_model("universal_vit_tiny_patch16_224", tasks=("detection",), **sizes).eval()
    names = [name for name, _ in model.named_parameters()]
    objective = DetectionConfig(groups=3).build(model, None)
    assert [name for name, _ in objective.named_parameters()] == ["others", *(f"model.{name}" for name in names)]
    pixels = torch.randn(2, 3, 32, 32)
    loss = objective(Batch(pixels, TARGETS), Moment(0))
    totals, own = [], model.head.decoder.places
    for places in (own.detach().clone(), *objective.others.detach()):
        with torch.no_grad():
            own.copy_(places)  # each group alone, in place of the model's
        blocks = model.head.forward_blocks(model.forward_features(pixels))
        totals.append(sum(set_loss(block, TARGETS.boxes, LEARNED).total for block in blocks))
    torch.testing.assert_close(loss.total, torch.stack(totals).mean())
    loss.total.backward()
    assert objective.others.grad.abs().amax(dim=(1, 2)).min() > 0


@pytest.mark.parametrize("groups", [0, 2])
def test_groups_that_cannot_be(groups: int):
    model = create_model("compact_detector_small_128", **TINY)
    with pytest.raises(vitrail.VitrailError, match=f"objective.groups is {groups}"):
        DetectionConfig(groups=groups).build(model, None)


def test_objects_of_a_batch_are_padded():
    target = BoxTarget(TARGETS.boxes[0], TARGETS.labels[0], TARGETS.crowd[0])
    assert isinstance(target, Ragged)
    none = BoxTarget(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.bool))
    batch = BoxTarget.batch([none, target])
    assert batch.labels.tolist() == [[-1, -1], [0, 2]]
    assert batch.crowd.tolist() == [[False, False], [False, True]]
    assert BoxTarget.batch([none, none]).boxes.shape == (2, 0, 4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    source = vitrail.open_source("scenes:size=32,train=12,val=4,test=6,classes=3,objects=1-2", task=DETECTION)
    recipe = vitrail.Recipe(
        model="compact_detector_small_128",
        overrides={"stem": ((8, 2), (16, 2), (16, 2)), "embed_dim": 16, "depth": 1, "pyramid_dim": 8},
        steps=4, batch_size=4, precision="float32", workers=0,
    )  # fmt: skip
    return vitrail.train(source, recipe, out=tmp_path_factory.mktemp("runs") / "run"), source


def test_a_run_is_measured_and_published(run):
    run, _ = run
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert {"train_loss", "train_classes", "train_overlap", "val_ap", "val_ap50"} <= set(rows[-1])
    stored = json.loads((run.path / "evaluation.json").read_text())
    assert [row["name"] for row in stored["per_class"]] == list(run.checkpoint.class_names)
    report = (run.path / "report.html").read_text(encoding="utf-8")
    for words in ("Validation average precision", "Worst predictions", "AP50", "average recall"):
        assert words in report
    assert "boxes around objects of 3 classes" in (run.path / "README.md").read_text(encoding="utf-8")


def test_a_trained_detector_predicts_and_is_evaluated(run):
    run, source = run
    found = vitrail.evaluate(
        run.path, "scenes:size=32,train=0,val=0,test=6,classes=3,objects=1-2", precision="float32"
    )  # as it was trained: two boxes of nearly the same score change places in bfloat16
    assert found.count == 6
    assert found.quality == pytest.approx(run.metrics["test_ap"], abs=1e-6)
    predictions = list(vitrail.predict(run.path, source))
    assert predictions[0].size == (32, 32)
    assert all(one.objects is not None for one in predictions)
