"""Masks as people have them: other suffixes, sizes, scales and folders; what cannot be used is said."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vitrail.data.masks import mask_files, read_mask
from vitrail.data.preprocess import Preprocess
from vitrail.data.samples import FileAt, Sample
from vitrail.errors import VitrailError

SIDE = 32
PREPROCESS = Preprocess(image_size=(SIDE, SIDE), crop=1.0)


def sample(name: str) -> Sample:
    return Sample(name, (0,), None, FileAt(name))


def square(side: int = SIDE) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[side // 4 : side // 2, side // 4 : 3 * side // 4] = 1
    return mask


TRUTH = torch.from_numpy(square()).bool()


def read(path: Path, size: tuple[int, int] = (SIDE, SIDE)) -> torch.Tensor:
    return read_mask(sample("cat/1.jpg"), path, size, PREPROCESS)


def cut_out(alpha: np.ndarray) -> Image.Image:
    """The object itself, of any colour, on nothing."""
    colours = np.random.default_rng(0).integers(0, 256, (*alpha.shape, 3), np.uint8)
    return Image.fromarray(np.dstack([colours, alpha]))


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(Image.fromarray(255 * square()), id="0 and 255"),
        pytest.param(Image.fromarray(square()), id="0 and 1"),
        pytest.param(Image.fromarray(38 * square()), id="0 and one level"),
        pytest.param(Image.fromarray(square().astype(np.uint16)), id="16 bits"),
        pytest.param(Image.fromarray(square().astype(bool)), id="1 bit"),
        pytest.param(Image.fromarray(255 * square()).convert("RGB"), id="RGB"),
        pytest.param(Image.fromarray(255 * square()).convert("RGBA"), id="opaque RGBA"),
        pytest.param(cut_out(255 * square()), id="a cut-out"),
        pytest.param(Image.fromarray(255 * square(3 * SIDE)), id="larger"),
    ],
)
def test_an_object_in_many_forms(image: Image.Image, tmp_path: Path) -> None:
    image.save(tmp_path / "1.png")
    assert torch.equal(read(tmp_path / "1.png"), TRUTH)


def test_a_jpeg_is_near(tmp_path: Path) -> None:
    Image.fromarray(255 * square()).save(tmp_path / "1.jpg")
    assert (read(tmp_path / "1.jpg") != TRUTH).sum() <= 4


def test_black_is_no_object_and_white_is_all(tmp_path: Path) -> None:
    for level in (0, 255):
        Image.fromarray(np.full((SIDE, SIDE), level, np.uint8)).save(tmp_path / "1.png")
        assert (read(tmp_path / "1.png") == bool(level)).all()


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    Image.fromarray((60 * np.random.default_rng(0).random((SIDE, SIDE))).astype(np.uint8)).save(path)
    with pytest.raises(VitrailError, match=r"nothing brighter than 59 of 255: make the object white"):
        read(path)
    Image.fromarray(square()).resize((SIDE, SIDE // 2)).save(path)
    with pytest.raises(VitrailError, match="32×16 px, the image 32×32"):
        read(path)
    path.write_bytes(b"no picture")
    with pytest.raises(VitrailError, match=r"1.png of cat/1.jpg cannot be read: not an image"):
        read(path)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("cat/1.jpg", "cat/1.png"),
        ("cat/1.jpg", "1.png"),
        ("cat/1.jpg", "test/cat/1.webp"),
        ("test/cat/1.2.jpg", "cat/1.2.png"),
        ("shard.tar/1", "1.png"),
    ],
)
def test_names_that_fit(name: str, file: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).touch()
    assert mask_files(tmp_path, [sample(name), sample("dog/7.png")]) == {name: tmp_path / file}


def test_the_nearest_name_wins_and_doubt_is_said(tmp_path: Path) -> None:
    for file in ("cat/1.png", "dog/1.png", "1.png"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert mask_files(tmp_path, [sample("cat/1.jpg")]) == {"cat/1.jpg": tmp_path / "cat/1.png"}
    with pytest.raises(VitrailError, match=r"1.png fits both cow/1.jpg and hen/1.jpg"):
        mask_files(tmp_path, [sample("cow/1.jpg"), sample("hen/1.jpg")])
    (tmp_path / "cat/1.gif").touch()
    with pytest.raises(VitrailError, match=r"cat/1.jpg has two masks"):
        mask_files(tmp_path, [sample("cat/1.jpg")])
    with pytest.raises(VitrailError, match="is no folder"):
        mask_files(tmp_path / "none", [])
