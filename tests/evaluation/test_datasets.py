"""Sources and torch Datasets in predict, embed and evaluate: the same numbers as for a folder of the same images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from vitrail.data.open import open_source
from vitrail.evaluation.embed import embed, write_embeddings
from vitrail.evaluation.evaluate import evaluate
from vitrail.evaluation.predict import predict
from vitrail.lens.inputs import model_inputs
from vitrail.study.layers import study_layers

from .small_checkpoint import CLASSES, tiny_checkpoint, write_classes


class Folder(Dataset):
    """Images of a folder of class folders."""

    classes = CLASSES

    def __init__(self, root: Path) -> None:
        self.files = sorted(root.rglob("*.png"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.open(self.files[index]).convert("RGB"), CLASSES.index(self.files[index].parent.name)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "images", each=2)


def test_they_give_the_numbers_of_the_folder(root: Path, tmp_path: Path) -> None:
    checkpoint, dataset = tiny_checkpoint(), Folder(root)
    predicted = list(predict(checkpoint, root))
    for same in (dataset, open_source(root), [open_source(root)]):
        assert [each.classes for each in predict(checkpoint, same)] == [each.classes for each in predicted]
        assert torch.equal(embed(checkpoint, same).vectors, embed(checkpoint, root).vectors)
    assert [each.path for each in predict(checkpoint, dataset, limit=2)] == ["dataset/0", "dataset/1"]
    for same in (dataset, open_source(root)):
        assert evaluate(checkpoint, same).to_dict() | {"note": ""} == evaluate(checkpoint, root).to_dict() | {
            "note": ""
        }
    write_embeddings(checkpoint, dataset, tmp_path / "vectors.npz")
    assert np.array_equal(np.load(tmp_path / "vectors.npz")["vectors"], embed(checkpoint, root).vectors.numpy())
    pixels = model_inputs(checkpoint, dataset).pixels
    assert torch.equal(pixels, model_inputs(checkpoint, root).pixels)
    assert [layer.probe_mean for layer in study_layers(checkpoint, dataset).layers]


def test_the_parts_of_a_source_are_chosen_as_those_of_a_folder(tmp_path: Path) -> None:
    for part, each in (("train", 3), ("test", 2)):
        write_classes(tmp_path / "images" / part, each=each)
    checkpoint, source = tiny_checkpoint(), open_source(tmp_path / "images")
    assert len(list(predict(checkpoint, source, split="test"))) == 6
    assert len(embed(checkpoint, source, split="train").paths) == 9
    assert evaluate(checkpoint, source).note == "6 images: the test part of images"


def test_an_evaluation_names_its_test_time_augmentation(tmp_path: Path) -> None:
    write_classes(tmp_path / "images", each=2)
    note = evaluate(tiny_checkpoint(), str(tmp_path / "images"), tta="flip").note
    assert note.endswith(", with test-time augmentation flip")
