"""The study of layers on a tiny model and tiny images, and what no study takes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vitrail.data.open import open_source, read_image
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.lens.observe import observe_features
from vitrail.models.registry import create_model
from vitrail.study.layers import LayerOptions, study_layers
from vitrail.study.layers_table import table as layers_table
from vitrail.study.robustness import study_robustness
from vitrail.task_spec import MULTI_LABEL

from ..evaluation.small_checkpoint import CLASSES, write_classes


def test_layers_have_probes_and_a_lens_that_ends_in_the_answer(checkpoint, source):
    study = study_layers(checkpoint, source)
    assert [layer.name for layer in study.layers] == ["encoder.blocks.0", "encoder.blocks.1"]
    last = study.layers[-1]
    assert last.agrees == 1
    headers, rows = layers_table(study)
    assert headers[:5] == ["layer", "width", "probe: class", "probe: mean", "lens"]
    assert rows[0][0] == "blocks.0"
    assert "halved" in study.notes[0]
    assert f"the model itself: {100 * last.lens:.1f} %" in study.notes[1]


def test_probes_read_what_the_features_hold(checkpoint, tmp_path):
    """Classes of one colour each are read without an error. The oracle is scikit-learn on the observed tokens."""
    for part, each in (("train", 8), ("test", 4)):
        for row, name in enumerate(CLASSES):
            folder = tmp_path / "colours" / part / name
            folder.mkdir(parents=True)
            for number in range(each):
                noise = np.random.default_rng([row, number, each]).integers(0, 40, (10, 12, 3), dtype=np.uint8)
                Image.fromarray(noise + np.eye(3, dtype=np.uint8)[row] * 200).save(folder / f"{number}.png")
    study = study_layers(checkpoint, str(tmp_path / "colours"), LayerOptions(precision="float32"))
    assert [(layer.probe_mean, layer.probe_class) for layer in study.layers] == [(1.0, 1.0)] * 2
    samples = [s for part in ("train", "test") for s in open_source(tmp_path / "colours").samples if s.split == part]
    pixels = torch.stack([checkpoint.preprocess(read_image(sample, 3)) for sample in samples])
    labels = [sample.labels[0] for sample in samples]
    with observe_features(checkpoint.model, "encoder.blocks.1") as seen, torch.no_grad():
        logits = checkpoint.model(pixels)
    tokens = seen["encoder.blocks.1"].x
    for features, found in (
        (tokens[:, 0], study.layers[1].probe_class),
        (tokens[:, 1:].mean(1), study.layers[1].probe_mean),
    ):
        probe = make_pipeline(StandardScaler(), RidgeClassifier(alpha=1.0)).fit(features[:24], labels[:24])
        assert probe.score(features[24:], labels[24:]) == found
    right = (logits.argmax(1)[24:] == torch.tensor(labels[24:])).double().mean().item()
    assert study.layers[1].lens == pytest.approx(right)


def test_layers_learn_from_train_and_are_scored_on_test(checkpoint, tmp_path):
    write_classes(tmp_path / "both" / "train", each=3)
    write_classes(tmp_path / "both" / "test", each=2)
    study = study_layers(checkpoint, str(tmp_path / "both"))
    assert "fitted on 9 images" in study.notes[0]
    assert "6 images: the test part" in study.notes[0]


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("auto", "fitted on 9 images and scored on 3 of 3 images: the test part"),
        ("val", "fitted on 9 images and scored on 6 of 6 images: the val part"),
        ("train", "9 of 9 images: the train part"),
        ("all", "18 of 18 images: all of"),
    ],
)
def test_layers_are_scored_on_the_part_that_is_named(split, words, checkpoint, tmp_path):
    for part, each in (("train", 3), ("val", 2), ("test", 1)):
        write_classes(tmp_path / "all" / part, each=each)
    study = study_layers(checkpoint, str(tmp_path / "all"), LayerOptions(split=split))
    assert words in study.notes[0]
    assert ("halved" in study.notes[0]) == (split in ("train", "all"))


@pytest.mark.parametrize("study", [study_layers, lambda checkpoint, source: study_robustness([checkpoint], source)])
def test_what_cannot_be_studied_is_a_sentence_that_names_the_model(study, checkpoint, source, tmp_path):
    checkpoint.path = Path("runs/mine")
    others = replace(checkpoint, class_names=("owl", "yak", "fox"))
    several = replace(checkpoint, model=replace(checkpoint.model.config, task=MULTI_LABEL).build())
    bands = replace(checkpoint, preprocess=Preprocess(image_size=(8, 8), channels=4, mean=(0.5,) * 4, std=(0.5,) * 4))
    sizes = {"image_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1}
    sizes = {**sizes, "tasks": ("detection",), "decoder_depth": 1, "num_queries": 2}
    detector = replace(checkpoint, model=create_model("universal_vit_tiny_patch16_224", num_heads=2, **sizes))
    for found, words in (
        (others, "lacks 2 classes"),
        (several, "is multi-label"),
        (bands, "images of 4 channels"),
        (detector, "is for detection"),
    ):
        with pytest.raises(VitrailError, match=f"runs/mine.*{words}"):
            study(found, source)
    write_classes(tmp_path / "one", ("cat",), each=1)
    with pytest.raises(VitrailError, match=r"2 or more labelled images|two classes"):
        study(checkpoint, str(tmp_path / "one"))


@pytest.mark.parametrize("asked", [{"limit": 0}, {"limit": -2}, {"batch_size": 0}])
def test_amounts_that_make_no_sense_are_sentences(asked, checkpoint, source):
    with pytest.raises(VitrailError, match=r"use [12] or more"):
        study_layers(checkpoint, source, LayerOptions(**asked))
