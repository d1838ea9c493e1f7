"""Folders of depths: scales, pixels without one, and each thing that can be wrong with them."""

import os
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from drawn import draw
from PIL import Image

from vitrail.data.annotation_sizes import fit_annotations
from vitrail.data.open import open_source
from vitrail.data.survey import survey
from vitrail.errors import VitrailError
from vitrail.task_spec import TaskSpec

METRES = np.array([[0.5, 2.0, 0.0, 8.25], [1.0, 1.0, 0.0, 65.0], [3.0, 4.0, 5.0, 6.0]])
EXPECTED = np.where(METRES == 0, np.nan, METRES).astype(np.float32)
MILLIMETRES = (METRES * 1000).astype(np.uint16)


def image(root: Path, stem: str) -> None:
    draw(root / f"images/{stem}.png", 4, 3, (1, 1, 3, 2))
    (root / "depth").mkdir(exist_ok=True)


def read(root: Path, task: str | None = None) -> np.ndarray:
    source = open_source(root, task=None if task is None else TaskSpec.parse(task))
    assert (source.task, source.label_kind) == (TaskSpec("depth"), "maps")
    found = source.samples[0].labels[0].read().numpy()
    assert found.dtype == np.float32
    return np.asarray(found)


def test_16_bit_png_is_in_millimetres(tmp_path: Path):
    image(tmp_path, "a")
    Image.fromarray(MILLIMETRES).save(tmp_path / "depth/a.png")
    np.testing.assert_array_equal(read(tmp_path), EXPECTED)
    note = open_source(tmp_path).notes[0]
    assert note == (
        "task depth: depths in depth, stored values divided by 1000: 0.5 to 65 in those looked at; "
        "--task depth:scale=N for another scale"
    )


def test_another_scale(tmp_path: Path):
    image(tmp_path, "a")
    Image.fromarray((METRES * 256).astype(np.uint16)).save(tmp_path / "depth/a.png")
    np.testing.assert_array_equal(read(tmp_path, "depth:scale=256"), EXPECTED)
    with pytest.raises(VitrailError, match="the scale of depths is 'far'"):
        read(tmp_path, "depth:scale=far")
    with pytest.raises(VitrailError, match="the scale of depths is 0"):
        read(tmp_path, "depth:scale=0")


def test_8_bit_is_a_fraction(tmp_path: Path):
    image(tmp_path, "a")
    Image.fromarray(np.array([[0, 51], [102, 255]], dtype=np.uint8)).save(tmp_path / "depth/a.png")
    np.testing.assert_allclose(read(tmp_path), [[np.nan, 0.2], [0.4, 1.0]], rtol=1e-6)


ODD = np.where(METRES == 0, np.inf, METRES)
ODD[2] = [-1, np.nan, 5, 6]
UNKNOWN = EXPECTED.copy()
UNKNOWN[2, :2] = np.nan


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_numpy_and_tiff_are_as_stored(tmp_path: Path, dtype: type):
    for form in ("npy", "npz", "npz_named", "tiff"):
        root = tmp_path / form
        root.mkdir()
        image(root, "a")
        array = ODD.astype(dtype)
        if form == "npy":
            np.save(root / "depth/a_depth.npy", array[..., None])
        elif form == "npz":
            np.savez_compressed(root / "depth/a.npz", array)
        elif form == "npz_named":
            np.savez(root / "depth/a.npz", confidence=np.zeros(3), depth=array)
        elif dtype == np.float32:
            Image.fromarray(array).save(root / "depth/a.tiff")
        else:
            continue
        np.testing.assert_array_equal(read(root), UNKNOWN)


@pytest.mark.parametrize("place", ["depth/{0}/a.png", "{0}/depth/a.png"])
def test_splits(tmp_path: Path, place: str):
    for split in ("train", "test"):
        path = tmp_path / place.format(split)
        draw(tmp_path / place.format(split).replace("depth", "rgb"), 4, 3)
        path.parent.mkdir(parents=True)
        Image.fromarray(MILLIMETRES).save(path)
    assert {s.split for s in open_source(tmp_path).samples} == {"train", "test"}
    names = [s.name for s in open_source(tmp_path, labelled=False).samples]
    assert sorted(os.path.dirname(name) for name in names) == sorted(
        os.path.dirname(place.format(split).replace("depth", "rgb")) for split in ("train", "test")
    )


def test_depths_that_are_wrong(tmp_path: Path):
    for stem in ("a", "none", "size", "text", "cut", "unknown", "colour", "three", "object", "bomb"):
        image(tmp_path, stem)
        if stem != "none":
            Image.fromarray(MILLIMETRES).save(tmp_path / f"depth/{stem}.png")
    depth = tmp_path / "depth"
    Image.fromarray(MILLIMETRES[:2]).save(depth / "size.png")
    (depth / "text.png").write_text("no depth")
    (depth / "cut.png").write_bytes((depth / "a.png").read_bytes()[:-30])
    Image.fromarray(np.zeros_like(MILLIMETRES)).save(depth / "unknown.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (3, 4, 3), dtype=np.uint8)).save(depth / "colour.png")
    for stem in ("three", "object", "bomb"):
        (depth / f"{stem}.png").unlink()
    np.save(depth / "three.npy", np.ones((3, 4, 2)))
    np.save(depth / "object.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (30_000, 30_000)})
    with ZipFile(depth / "bomb.npz", "w") as archive:
        archive.writestr("depth.npy", header.getvalue())
    Image.fromarray(MILLIMETRES).save(depth / "lonely.png")
    found = fit_annotations(survey(open_source(tmp_path)))
    assert [s.name for s in found.source.samples] == ["images/a.png"]
    assert found.source.samples[0].annotated_size == (3, 4)
    named = {bad.name: bad.reason for bad in found.bad}
    expected = {
        "none": "no depth",
        "size": "annotations are for 4×2, the image is 4×3",
        "text": "text.png: not an image, or damaged in its first bytes",
        "cut": "truncated",
        "unknown": "no pixel has a depth",
        "colour": "depths of shape (3, 4, 3), but (H, W) is needed",
        "three": "an array of shape (3, 4, 2)",
        "object": "an array of Python objects",
        "bomb": "too large: 900,000,000 pixels",
    }
    for stem, words in expected.items():
        assert words in named[f"images/{stem}.png"], stem
    assert named["depth/lonely.png"] == "no image of this name"
    assert len(named) == len(expected) + 1


def test_masks_win_over_depths_unless_they_are_asked_for(tmp_path: Path):
    image(tmp_path, "a")
    Image.fromarray(MILLIMETRES).save(tmp_path / "depth/a.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.ones((3, 4), dtype=np.uint8)).save(tmp_path / "masks/a.png")
    assert open_source(tmp_path).task.name == "segmentation"
    np.testing.assert_array_equal(read(tmp_path, "depth"), EXPECTED)


def test_the_scale_follows_from_the_type_of_each_file(tmp_path: Path):
    for stem in "abc":
        image(tmp_path, stem)
    Image.fromarray(MILLIMETRES).save(tmp_path / "depth/a.png")
    np.save(tmp_path / "depth/b.npy", METRES)
    Image.fromarray(np.full((3, 4), 51, dtype=np.uint8)).save(tmp_path / "depth/c.png")
    source = open_source(tmp_path)
    depths = [sample.labels[0].read().numpy() for sample in source.samples]
    np.testing.assert_array_equal(depths[0], EXPECTED)
    np.testing.assert_array_equal(depths[1], EXPECTED)
    np.testing.assert_array_equal(depths[2], np.full((3, 4), 0.2, dtype=np.float32))
    assert "divided by 1 or 255 or 1000 by their type: 0.2 to 65 in" in source.notes[0]
