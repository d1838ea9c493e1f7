"""--split: the source's own parts, else those that a run recorded by content."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitrail.data.open import open_source
from vitrail.data.split_choice import choose_split
from vitrail.data.survey import digest
from vitrail.errors import VitrailError
from vitrail.tables import write_csv


def images(root: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (4, 4), dtype=np.uint8)).save(root / name)
    return root


def chosen(folder: Path, split: str, run: Path | None = None, labelled: bool = False) -> list[str]:
    source = choose_split(open_source(folder, labelled=labelled), split, run)  # type: ignore[arg-type]
    return [Path(sample.name).name for sample in source.samples]


@pytest.mark.parametrize(
    ("split", "names"),
    [("all", ["3.png", "1.png", "2.png"]), ("auto", ["3.png"]), ("train", ["1.png", "2.png"]), ("test", ["3.png"])],
)
def test_parts_of_the_source_itself(tmp_path: Path, split: str, names: list[str]):
    images(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/3.png")
    assert sorted(chosen(tmp_path, split, labelled=True)) == sorted(names)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that recorded the first three of five images, under other names."""
    images(tmp_path / "data", "1.png", "2.png", "3.png", "4.png", "5.png")
    content = [digest((tmp_path / f"data/{i}.png").read_bytes()) for i in (1, 2, 3)]
    rows = [("x", content[0], "train", ""), ("y", content[1], "val", ""), ("z", content[2], "test", "")]
    (tmp_path / "run/checkpoints/best").mkdir(parents=True)
    write_csv(tmp_path / "run/splits.csv", [("name", "digest", "split", "label"), *rows])
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", ["1.png"]),
        ("val", ["2.png"]),
        ("test", ["3.png"]),
        ("auto", ["3.png", "4.png", "5.png"]),
        ("all", ["1.png", "2.png", "3.png", "4.png", "5.png"]),
    ],
)
def test_parts_that_a_run_recorded(run: Path, split: str, names: list[str]):
    for checkpoint in (run, run / "checkpoints/best"):
        assert chosen(run.parent / "data", split, checkpoint) == names


def test_an_unreadable_file_is_new_to_the_run(run: Path):
    (run.parent / "data/6.png").symlink_to(run.parent / "nowhere.png")
    assert "6.png" in chosen(run.parent / "data", "auto", run)
    assert chosen(run.parent / "data", "test", run) == ["3.png"]


def test_no_run_and_no_part(tmp_path: Path):
    images(tmp_path, "1.png", "2.png")
    assert len(chosen(tmp_path, "auto")) == 2
    with pytest.raises(VitrailError, match=r"no image of .* is in the val part: use --split all"):
        chosen(tmp_path, "val")
    with pytest.raises(VitrailError, match="there is no split 'tset': did you mean test"):
        chosen(tmp_path, "tset")
