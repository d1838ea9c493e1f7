"""Pre-training measured by its features: rank and spread, kNN on labelled images, and a warning at collapse."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from killable_runs import MASKED, make_pictures
from sklearn.neighbors import KNeighborsClassifier

import vitrail
from vitrail.data.open import open_source, read_image
from vitrail.errors import VitrailError
from vitrail.evaluation.probe.collapse import effective_rank, spread
from vitrail.objectives.supervised import SupervisedConfig
from vitrail.training import measure
from vitrail.training.feature_quality import FeatureQuality
from vitrail.training.loop import Trainer

SETTINGS = replace(MASKED, epochs=None, steps=4, evaluate_every=0.5, ema=0.0, precision="float32")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("photos") / "album", each=12)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    root = tmp_path_factory.mktemp("labelled")
    for part, each in (("train", 8), ("val", 5), ("test", 2)):
        make_pictures(root / "kinds" / part, each=each)
    return root / "kinds"


def rows(run):
    return [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]


def embedded(run, samples):
    checkpoint = vitrail.load(run.path)
    pixels = torch.stack([checkpoint.preprocess(read_image(sample, 3)) for sample in samples])
    with torch.no_grad():
        return checkpoint.model.embed_images(pixels)


@pytest.mark.exhaustive
def test_rank_and_spread_are_those_of_the_validation_images(photos, tmp_path):
    run = vitrail.pretrain(photos, SETTINGS, out=tmp_path / "run")
    lines = [line.split(",") for line in (run.path / "splits.csv").read_text().splitlines()[1:]]
    val = {name for name, _, split, _ in lines if split == "val"}
    samples = [sample for sample in open_source(photos).samples if sample.location.path.endswith(tuple(val))]
    assert len(samples) == len(val) > 1
    vectors = embedded(run, samples)
    best = max(rows(run), key=lambda row: -row["val_loss"])
    assert best["val_rank"] == pytest.approx(effective_rank(vectors), rel=1e-3)
    assert best["val_spread"] == pytest.approx(spread(vectors), rel=1e-3)
    assert "Spread of the embeddings" in (run.path / "report.html").read_text()


def test_knn_on_labelled_images_chooses_the_checkpoint(photos, labelled, tmp_path, monkeypatch):
    run = vitrail.pretrain(photos, replace(SETTINGS, knn=str(labelled)), out=tmp_path / "run")
    found = rows(run)
    parts = {}
    for part in ("train", "val"):
        samples = [sample for sample in open_source(labelled).samples if sample.split == part]
        vectors = torch.nn.functional.normalize(embedded(run, samples), dim=1)
        parts[part] = vectors.numpy(), [sample.labels[0] for sample in samples]
    weights: Any = lambda distances: torch.from_numpy((1 - distances**2 / 2) / 0.07).exp().numpy()  # noqa: E731
    model = KNeighborsClassifier(20, weights=weights).fit(*parts["train"])
    assert run.checkpoint.info["metrics"]["val_knn_top1"] == pytest.approx(model.score(*parts["val"]))
    best = max(row["val_knn_top1"] for row in found)
    assert run.checkpoint.info["metrics"]["step"] == max(row["step"] for row in found if row["val_knn_top1"] == best)
    report = (run.path / "report.html").read_text()
    assert "kNN accuracy" in report
    assert str(labelled) not in report

    step = Trainer.step

    def stopped(self: Trainer, batches: Any) -> None:
        if self.counters.step == 2:
            raise KeyboardInterrupt
        step(self, batches)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stopped)
        with pytest.raises(KeyboardInterrupt):
            vitrail.pretrain(photos, replace(SETTINGS, knn=str(labelled)), out=tmp_path / "stopped")
    resumed = vitrail.resume(tmp_path / "stopped")
    assert rows(resumed) == found
    best_weights = "checkpoints/best/model.safetensors"
    assert (resumed.path / best_weights).read_bytes() == (run.path / best_weights).read_bytes()


def test_other_labelled_images_stop_a_resumed_run(photos, tmp_path):
    labelled = make_pictures(tmp_path / "kinds", each=8)
    run = vitrail.pretrain(photos, replace(SETTINGS, steps=1, knn=str(labelled)), out=tmp_path / "run")
    next(labelled.rglob("*.png")).unlink()
    with pytest.raises(VitrailError, match="for kNN are not those of the run"):
        vitrail.resume(run.path)


def test_collapsed_features_are_said_once_and_in_the_report(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "feature_quality", lambda setup, model, split: FeatureQuality(1.0, 0.001))
    said: list[str] = []
    run = vitrail.pretrain(photos, SETTINGS, out=tmp_path / "run", say=said.append)
    assert len(rows(run)) > 1
    assert sum("features have collapsed" in line for line in said) == 1
    assert "features have collapsed" in (run.path / "report.html").read_text()


@pytest.mark.parametrize(("rank", "wide", "collapsed"), [(3.3, 0.09, False), (1.0, 1.0, True), (5.0, 0.005, True)])
def test_collapse_is_one_direction_or_one_point(rank, wide, collapsed):
    assert bool(FeatureQuality(rank, wide).caution) == collapsed


def test_knn_is_for_runs_without_labels(photos, labelled, tmp_path):
    with pytest.raises(VitrailError, match="learns from labels: leave knn out"):
        vitrail.train(labelled, replace(SETTINGS, objective=SupervisedConfig(), knn=str(labelled)), out=tmp_path / "a")
    numbers = tmp_path / "numbers.csv"
    names = [f"{path},{number}.5" for number, path in enumerate(sorted(photos.rglob("*.png"))[:6])]
    numbers.write_text("\n".join(["path,age", *names]) + "\n")
    with pytest.raises(VitrailError, match="no class for each image"):
        vitrail.pretrain(photos, replace(SETTINGS, knn=str(numbers)), out=tmp_path / "b")
    assert not (tmp_path / "b").exists()
