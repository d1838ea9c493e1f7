"""A task of another package goes through predict, its table and eval, with no line of ours about it."""

import csv
import io

import pytest
import torch

from tests.evaluation.small_checkpoint import write_classes
from tests.plugin_package import install
from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.data.open import open_source, read_image
from vitrail.data.preprocess import Preprocess
from vitrail.engines.predictor import make_predictor
from vitrail.evaluation.evaluate import evaluate
from vitrail.evaluation.predict import named_images, predict_samples
from vitrail.evaluation.prediction_table import Layout, write_table
from vitrail.models.registry import create_model
from vitrail.task_spec import TaskSpec

PACKAGE = '''
"""Ordinal classes: the prediction is the expected place in the order, the quality minus its mean absolute error."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from vitrail.tasks.classification import Classification
from vitrail.tasks.outcomes import Evaluation, Metrics, Prediction


@dataclass(frozen=True, kw_only=True, slots=True)
class Place(Prediction):
    place: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap(Evaluation):
    @property
    def quality(self):
        return -self.loss

    def headline(self):
        return {"loss": self.loss}

    def facts(self):
        return [("mean gap", f"{self.loss:.2f}")]

    def card_metrics(self):
        return {}

    def to_dict(self):
        return {"loss": self.loss}


def places(output):
    return output.softmax(1) @ torch.arange(output.shape[1], dtype=output.dtype)


class Gaps(Metrics):
    def __init__(self):
        self.all = []

    def update(self, output, target):
        self.all.append((places(output) - target.argmax(1)).abs())

    def compute(self):
        gaps = torch.cat(self.all)
        return Gap(count=len(gaps), loss=gaps.mean().item())


@dataclass(frozen=True, kw_only=True, slots=True)
class Ordinal(Classification):
    name: ClassVar[str] = "ordinal"

    def match(self, source, names):
        return replace(source, samples=Classification().match(source, names).samples, class_names=tuple(names))

    def decode(self, output, names, top_k=None):
        return [Place(place=value) for value in places(output).tolist()]

    def failed(self, path, error):
        return Place(path=path, error=error)

    def columns(self, names, top_k):
        return {"place": float}

    def cells(self, prediction, names, top_k):
        return [prediction.place]

    def metrics(self, names):
        return Gaps()
'''


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    (tmp_path / "package").mkdir()
    install(monkeypatch, tmp_path / "package", "my_ordinal", PACKAGE, "[vitrail.tasks]\nordinal = my_ordinal:Ordinal\n")
    sizes = {"image_size": 8, "patch_size": 4, "embed_dim": 16, "num_heads": 2, "depth": 1}
    model = create_model("vit_tiny_patch16_224", num_classes=3, task=TaskSpec("ordinal"), **sizes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4)
    names, preprocess = ("cat", "dog", "fox"), Preprocess(image_size=(8, 8), crop=1.0)
    save(Checkpoint(model.eval(), names, preprocess), tmp_path / "model")
    return load(tmp_path / "model")


def test_predict_table_and_eval(checkpoint, tmp_path, capsys):
    source = write_classes(tmp_path / "images", each=2)
    (tmp_path / "broken.png").write_bytes(b"no image")
    expected, gaps = [], []
    for sample in open_source(source).samples:
        pixels = checkpoint.preprocess(read_image(sample, 3))[None]
        with torch.inference_mode():
            probabilities = checkpoint.model(pixels).softmax(1)[0].tolist()
        expected.append(sum(place * value for place, value in enumerate(probabilities)))
        gaps.append(abs(expected[-1] - sample.labels[0]))
    predictor = make_predictor(checkpoint, device="cpu", precision="float32")
    named = named_images([source, tmp_path / "broken.png"])
    write_table(predict_samples(predictor, named), Layout(predictor.task, predictor.names, 5))
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["path", "place", "error"]
    assert [float(row["place"]) for row in rows[:-1]] == pytest.approx(expected, abs=1e-4)
    assert rows[-1]["error"]
    found = evaluate(checkpoint, source, device="cpu", precision="float32")
    assert found.quality == pytest.approx(-sum(gaps) / 6, abs=1e-4)
    assert found.note.startswith("6 images")
