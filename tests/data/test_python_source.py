"""Sources made in Python: the same samples and images as the files that they could be written to."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from vitrail.data.open import open_source, read_image
from vitrail.data.python_source import source_from_dataset, source_from_images
from vitrail.data.split import split
from vitrail.data.survey import survey
from vitrail.errors import VitrailError
from vitrail.task_spec import CLASSIFICATION, MULTI_LABEL, REGRESSION

ARRAYS = np.random.default_rng(0).integers(0, 256, (6, 8, 9, 3), dtype=np.uint8)


def labels_of(source) -> list[tuple]:
    return [sample.labels for sample in source.samples]


def test_every_way_to_give_an_image_gives_the_same_image(tmp_path: Path):
    Image.fromarray(ARRAYS[0]).save(tmp_path / "a.png")
    wanted = torch.from_numpy(ARRAYS[0]).permute(2, 0, 1)
    given = [tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(ARRAYS[0]), ARRAYS[0], wanted]
    for sample in source_from_images(given).samples:
        assert torch.equal(read_image(sample, 3), wanted)
    whole = source_from_images(torch.from_numpy(ARRAYS).permute(0, 3, 1, 2))
    assert torch.equal(read_image(whole.samples[5]), torch.from_numpy(ARRAYS[5]).permute(2, 0, 1))


@pytest.mark.parametrize("shape", [(2, 3, 9), (8, 3, 9), (40, 50, 50), (60, 80, 70), (1, 2, 2)])
def test_bands_stay_bands_whatever_the_shape(shape):
    image = torch.rand(shape)
    assert torch.equal(read_image(source_from_images([image]).samples[0]), image)
    with pytest.raises(VitrailError, match="images/0: 12 channels of 3×9 pixels"):
        source_from_images([torch.rand(12, 3, 9)])


def test_transparency_and_orientation_survive():
    see_through = Image.fromarray(np.dstack([ARRAYS[0], ARRAYS[1, :, :, 0]]))
    assert read_image(source_from_images([see_through]).samples[0], 4).shape == (4, 8, 9)
    turned = Image.fromarray(ARRAYS[0])
    turned.getexif()[0x0112] = 6
    rotated = torch.from_numpy(np.rot90(ARRAYS[0], -1).copy()).permute(2, 0, 1)
    assert torch.equal(read_image(source_from_images([turned]).samples[0]), rotated)


@pytest.mark.parametrize(
    ("labels", "names", "task", "classes", "rows"),
    [
        (["b", "a", "b"], None, CLASSIFICATION, ("a", "b"), [(1,), (0,), (1,)]),
        (["b", "a", "b"], ["b", "a"], CLASSIFICATION, ("b", "a"), [(0,), (1,), (0,)]),
        ([2, 0, 2], None, CLASSIFICATION, ("0", "1", "2"), [(2,), (0,), (2,)]),
        (np.array([1, 0, 1]), ["no", "yes"], CLASSIFICATION, ("no", "yes"), [(1,), (0,), (1,)]),
        ([["b"], [], ["a", "b"]], None, MULTI_LABEL, ("a", "b"), [(1,), (), (0, 1)]),
        (torch.tensor([[0, 1], [0, 0], [1, 1]]), ["a", "b"], MULTI_LABEL, ("a", "b"), [(1,), (), (0, 1)]),
        ([0.5, 2, 1.0], None, REGRESSION, ("value",), [(0.5,), (2.0,), (1.0,)]),
        (np.array([[0.5, 1], [2, 3], [4, 5]]), ["x", "y"], REGRESSION, ("x", "y"), [(0.5, 1), (2, 3), (4, 5)]),
        (None, None, CLASSIFICATION, (), [(), (), ()]),
    ],
)  # fmt: skip
def test_labels_and_the_task_they_mean(labels, names, task, classes, rows):
    source = source_from_images(ARRAYS[:3], labels, class_names=names)
    assert (source.task, source.class_names, labels_of(source)) == (task, classes, rows)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (["a"], {}, "1 labels for the 6 images of images: give one for each"),
        ([0, 1, 2] * 2, {"class_names": ["a", "b"]}, "count to 2, but there are 2 class names"),
        (["a", "c"] * 3, {"class_names": ["a", "b"]}, "label 'c' of images is not among the class names a, b"),
        (["a", 1] * 3, {}, "labels of images are of types int, str"),
        ([[1.0], [1.0, 2.0]] * 3, {}, "1 and 2 numbers for an image"),
        ([float("nan")] * 6, {}, "have NaN or infinity"),
        ([0, 1] * 3, {"splits": ["train", "later"] * 3}, "split 'later' of images is none of train, val, test"),
    ],
)
def test_mistakes_are_sentences(labels, options, message):
    with pytest.raises(VitrailError, match=message):
        source_from_images(ARRAYS, labels, **options)


def test_it_goes_through_survey_and_split_like_a_folder(tmp_path: Path):
    labels = ["a", "b", "a", "b", "a", "b"]
    for i, label in enumerate(labels):
        (tmp_path / label).mkdir(exist_ok=True)
        Image.fromarray(ARRAYS[i]).save(tmp_path / label / f"{i}.png")
    source = open_source(source_from_images([Image.fromarray(array) for array in ARRAYS], labels, name="mine"))
    assert source.notes == ("task classification: 2 classes",)
    found, folder = survey(source), survey(open_source(tmp_path))
    assert (found.median_size, found.channels, found.class_counts) == (folder.median_size, 3, (3, 3))
    assert [len(part) for part in (split(found).train, split(found).val)] == [4, 1]
    assert open_source(source, labelled=False).samples[0].labels == ()


class Squares(Dataset):
    """Items (image, label); number 3 is broken."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        if index == 3:
            raise RuntimeError("no such square")
        return Image.fromarray(ARRAYS[index]), index % 2


def test_a_dataset_whose_labels_are_given_is_read_lazily():
    source = source_from_dataset(Squares(), labels=[0, 1] * 3, class_names=["even", "odd"], name="squares")
    assert [(s.name, s.labels) for s in source.samples[:2]] == [("squares/0", (0,)), ("squares/1", (1,))]
    found = survey(source)
    assert [(bad.name, bad.reason) for bad in found.bad] == [
        ("squares/3", "item 3 of the dataset: no such square"),
    ]
    assert torch.equal(read_image(source.samples[4]), torch.from_numpy(ARRAYS[4]).permute(2, 0, 1))


def test_labels_of_a_dataset_are_found_in_its_items():
    images = torch.from_numpy(ARRAYS).permute(0, 3, 1, 2)
    source = source_from_dataset(TensorDataset(images, torch.tensor([1, 0, 1, 0, 2, 2])))
    assert labels_of(source) == [(1,), (0,), (1,), (0,), (2,), (2,)]
    numbers = source_from_dataset(TensorDataset(images, torch.rand(6)))
    assert numbers.task == REGRESSION
    with pytest.raises(VitrailError, match=r"item 0 of the dataset is a tuple, but \(image, label\) is needed"):
        source_from_dataset(TensorDataset(images))


def named(images: torch.Tensor, labels: list, classes: object = None) -> TensorDataset:
    """A Dataset of (image, label), with `classes` as torchvision's have them."""
    dataset = TensorDataset(images, torch.tensor(labels))
    if classes is not None:
        dataset.classes = classes
    return dataset


IMAGES = torch.from_numpy(ARRAYS).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("dataset", "classes", "rows"),
    [
        (named(IMAGES, [1, 0, 1, 0, 2, 2]), ("0", "1", "2"), [1, 0, 1, 0, 2, 2]),
        (named(IMAGES, [1, 0, 1, 0, 1, 1], ["cat", "ant"]), ("cat", "ant"), [1, 0, 1, 0, 1, 1]),
        (named(IMAGES, [0, 1] * 3, [("crane", "bird"), "owl"]), ("crane, bird", "owl"), [0, 1] * 3),
        (Subset(named(IMAGES, [1, 0, 1, 0, 1, 1], ["cat", "ant"]), [0, 3, 4]), ("cat", "ant"), [1, 0, 1]),
        (
            ConcatDataset([named(IMAGES[:2], [0, 1], ["cat", "ant"]), named(IMAGES[2:4], [1, 1], ["cat", "ant"])]),
            ("cat", "ant"),
            [0, 1, 1, 1],
        ),
    ],
)
def test_a_dataset_is_opened_with_its_own_classes(dataset, classes, rows):
    source = open_source(dataset)
    assert (source.name, source.task, source.class_names) == ("dataset", CLASSIFICATION, classes)
    assert labels_of(source) == [(row,) for row in rows]
    assert torch.equal(read_image(source.samples[0]), IMAGES[0])


def test_labels_are_ignored_and_not_needed_where_none_are_wanted():
    for dataset in (TensorDataset(IMAGES), named(IMAGES, [1, 0, 1, 0, 2, 2]), AloneInItem()):
        source = open_source(dataset, labelled=False)
        assert (source.class_names, labels_of(source)) == ((), [()] * 6)
        assert torch.equal(read_image(source.samples[5]), IMAGES[5])


class AloneInItem(Dataset):
    """Items are images without labels."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        return IMAGES[index]


def test_an_item_whose_label_cannot_be_read_is_a_bad_file():
    source = open_source(Squares())
    assert [(bad.name, bad.reason) for bad in source.bad] == [("dataset/3", "item 3 of the dataset: no such square")]
    assert [(sample.name, *sample.labels) for sample in source.samples[2:]] == [
        ("dataset/2", 0), ("dataset/4", 0), ("dataset/5", 1),
    ]  # fmt: skip
    parts = source_from_dataset(Squares(), splits=["train", "train", "val", "val", "test", "test"]).samples
    assert [sample.split for sample in parts] == ["train", "train", "val", "test", "test"]


class Endless(IterableDataset):
    def __iter__(self):
        yield IMAGES[0], 0


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Endless(), "a Endless has no length: give a Dataset with __len__"),
        (DataLoader(Squares()), "a DataLoader is no source: name files, give a torch Dataset"),
        (ConcatDataset([named(IMAGES, [0] * 6, ["a"]), named(IMAGES, [0] * 6, ["b"])]), r"such as \(a\) and \(b\)"),
        (named(IMAGES, [0, 1, 2] * 2, ["a", "b"]), "labels of dataset count to 2, but there are 2 class names"),
    ],
)
def test_datasets_that_cannot_be_used_are_sentences(dataset, message):
    with pytest.raises(VitrailError, match=message):
        open_source(dataset)
