"""Annotations of turned images, of all eight EXIF orientations, and of images of another size."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn import covered
from PIL import Image, ImageOps

from vitrail.data.annotation_sizes import TurnedMap, fit_annotations
from vitrail.data.annotations import Box
from vitrail.data.boxes import turned_box
from vitrail.data.open import open_source, read_image
from vitrail.data.regions import Region, RegionMap
from vitrail.data.samples import FileAt, Sample, Source
from vitrail.data.survey import Survey, survey
from vitrail.task_spec import TaskSpec

WIDTH, HEIGHT = 12, 8
RECTANGLE = (1, 2, 6, 5)


def stored() -> np.ndarray:
    """The image as it is stored, black with a white rectangle."""
    image = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    left, top, right, bottom = RECTANGLE
    image[top:bottom, left:right] = 255
    return image


def save(path: Path, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored()).save(path, exif=exif)
    return path


def boxes(size: tuple[int, int]) -> tuple[Box, ...]:
    height, width = size
    left, top, right, bottom = RECTANGLE
    return (Box(0, left / width, top / height, right / width, bottom / height, True),)


def region(size: tuple[int, int]) -> tuple[RegionMap, ...]:
    left, top, right, bottom = RECTANGLE
    polygon = [left, top, right, top, right, bottom, left, bottom]
    return (RegionMap.of([Region.of_polygons(1, [polygon])], size),)


def fitted(path: Path, kind: str, size: tuple[int, int]) -> Survey:
    labels = boxes(size) if kind == "boxes" else region(size)
    sample = Sample("a", labels, None, FileAt(str(path)), annotated_size=size)
    source = Source("s", ("x", "y"), (sample,), TaskSpec("detection"), label_kind=kind)  # type: ignore[arg-type]
    return fit_annotations(survey(source))


def marked(sample: Sample, kind: str) -> np.ndarray:
    """(H, W): where the labels of a sample are."""
    height, width = sample.annotated_size or (0, 0)
    label = sample.labels[0]
    return np.asarray(covered(label, width, height) if kind == "boxes" else label.read() == 1)


@pytest.mark.parametrize("kind", ["boxes", "maps"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations(tmp_path: Path, kind: str, orientation: int):
    """Annotations for the stored image are turned with it if its size shows that they are for it."""
    path = save(tmp_path / "a.png", orientation)
    found = fitted(path, kind, (HEIGHT, WIDTH))
    sample = found.source.samples[0]
    turned = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert sample.annotated_size == turned.shape == tuple(read_image(sample).shape[1:])
    assert (read_image(sample)[0].numpy() == turned).all()
    if orientation >= 5:
        assert (marked(sample, kind) == (turned == 255)).all()
    else:  # the size is the same: annotations are those of the upright image
        assert sample.labels == (boxes if kind == "boxes" else region)((HEIGHT, WIDTH))


@pytest.mark.parametrize("kind", ["boxes", "maps"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_annotations_of_upright_images_stay(tmp_path: Path, kind: str, orientation: int):
    path = save(tmp_path / "a.png", orientation)
    labels = (boxes if kind == "boxes" else region)((WIDTH, HEIGHT))
    assert fitted(path, kind, (WIDTH, HEIGHT)).source.samples[0].labels == labels


@pytest.mark.parametrize("turn", list(Image.Transpose))
def test_every_turn(turn: Image.Transpose):
    box, mask = boxes((HEIGHT, WIDTH))[0], region((HEIGHT, WIDTH))[0]
    expected = np.asarray(Image.fromarray(stored()).transpose(turn)) == 255
    turned = turned_box(box, turn)
    assert (turned.label, turned.crowd) == (box.label, box.crowd)
    assert (covered(turned, expected.shape[1], expected.shape[0]).numpy() == expected).all()
    assert (TurnedMap(mask, turn).read().numpy() == expected).all()


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH + 1), (2 * HEIGHT, 2 * WIDTH), (WIDTH, HEIGHT)])
def test_other_sizes(tmp_path: Path, size: tuple[int, int]):
    path = save(tmp_path / "a.png", 3)
    found = fitted(path, "boxes", size)
    assert (found.source.samples, found.facts) == ((), ())
    assert [bad.name for bad in found.bad] == ["a"]
    words = f"annotations are for {size[1]}×{size[0]}, the image is {WIDTH}×{HEIGHT}: "
    assert found.bad[0].reason.startswith(words)


def test_polygons_in_fractions_get_the_size(tmp_path: Path):
    """Of turned images too: YOLO's fractions are of the upright one."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    save(tmp_path / "images/a.png", 6)
    (tmp_path / "labels/a.txt").write_text("0 0.125 0.25 0.5 0.25 0.5 0.5 0.125 0.5")
    source = open_source(tmp_path, task=TaskSpec("segmentation"))
    before = source.samples[0].labels[0].read()
    label = fit_annotations(survey(source)).source.samples[0].labels[0]
    expected = torch.zeros(WIDTH, HEIGHT, dtype=torch.int16)
    expected[3:6, 1:4] = 1
    assert (before.equal(expected), label.read().equal(expected)) == (True, True)
    assert (label.size, label.location) == ((WIDTH, HEIGHT), None)


def test_other_sources_are_unchanged(tmp_path: Path):
    data = BytesIO()
    Image.fromarray(stored()).save(data, "PNG")
    for name in ("cat/1.png", "dog/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(data.getvalue())
    found = survey(open_source(tmp_path))
    assert fit_annotations(found) is found
