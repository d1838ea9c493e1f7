"""Sources of other packages: `name` and `name:rest` open what their entry point gives."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

from vitrail.data.open import NAMES, SUFFIXES, open_source, read_image
from vitrail.errors import VitrailError

MODULE = """
import numpy as np
from vitrail.data.open import source_from_images

def open_stripes(rest, labelled, task):
    count = int(rest or 4)
    images = [np.full((4, 4), 10 * i, np.uint8) for i in range(count)]
    return source_from_images(images, [i % 2 for i in range(count)], class_names=["even", "odd"], name="stripes")

def open_wrong(rest, labelled, task):
    return rest
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that adds the sources "stripes" and "wrong"."""
    (tmp_path / "striped.py").write_text(MODULE)
    metadata = tmp_path / "striped-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: striped\nVersion: 1.0\n")
    points = "[vitrail.sources]\nstripes = striped:open_stripes\nwrong = striped:open_wrong\n"
    (metadata / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "striped", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("spec", "count"), [("stripes", 4), ("stripes:7", 7)])
def test_a_name_opens_it(spec: str, count: int):
    source = open_source(spec)
    assert (len(source.samples), source.class_names) == (count, ("even", "odd"))
    assert read_image(source.samples[3], 1).unique().tolist() == [30]
    assert {sample.labels for sample in open_source(spec, labelled=False).samples} == {()}


def test_an_existing_path_wins(tmp_path: Path):
    (tmp_path / "stripes").mkdir()
    with pytest.raises(VitrailError, match="stripes is empty"):
        open_source("stripes")


def test_mistakes_are_sentences():
    with pytest.raises(VitrailError, match="did you mean stripes"):
        open_source("stripe")
    with pytest.raises(VitrailError, match="source 'wrong:x' of another package returned str"):
        open_source("wrong:x")


def test_every_row_of_the_tables_names_a_function():
    for place in {*NAMES.values(), *SUFFIXES.values()}:
        file, _, function = place.partition(":")
        assert callable(vars(import_module(f"vitrail.data.{file}"))[function])


def test_a_named_set_has_no_parts():
    with pytest.raises(VitrailError, match="digits has no parts, such as 'train'"):
        open_source("digits:train")
