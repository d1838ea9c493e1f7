"""Tables of numbers: what is inferred from which columns, what overrides it, and how mistakes are reported."""

from pathlib import Path

import pytest
from PIL import Image

from vitrail.data.open import Source, open_source
from vitrail.errors import VitrailError
from vitrail.task_spec import CLASSIFICATION, MULTI_LABEL, REGRESSION, TaskSpec

NAMES = [f"{i}.png" for i in range(12)]


def table(root: Path, header: str, *cells: str, names: list[str] = NAMES) -> Path:
    """A CSV beside its images, one row for each entry of `cells`; too few entries are repeated."""
    for name in names:
        Image.new("L", (4, 4)).save(root / name)
    rows = [f"{name},{cells[i % len(cells)]}" for i, name in enumerate(names)]
    (root / "table.csv").write_text("\n".join([f"path,{header}", *rows]))
    return root / "table.csv"


def found(source: Source) -> tuple[TaskSpec, str, tuple[str, ...]]:
    return source.task, source.label_kind, source.class_names


def test_columns_of_numbers_with_a_fraction_are_regression(tmp_path: Path):
    source = open_source(table(tmp_path, "Height,age,split,remark", "1.75,30,train,tall", "1.6,-4e1,test,"))
    assert found(source) == (REGRESSION, "numbers", ("Height", "age"))
    assert [(s.labels, s.split) for s in source.samples[:2]] == [((1.75, 30.0), "train"), ((1.6, -40.0), "test")]
    assert source.notes == ("task regression: numbers from columns Height, age",)


def test_a_label_column_with_fractions_is_regression_of_one_number(tmp_path: Path):
    source = open_source(table(tmp_path, "label", "0.5", "2"))
    assert found(source) == (REGRESSION, "numbers", ("label",))
    assert [s.labels for s in source.samples[:2]] == [(0.5,), (2.0,)]
    assert source.notes == ("task regression: numbers from column label",)


@pytest.mark.parametrize(
    ("header", "cells", "task", "classes", "note"),
    [
        ("label", ("3", "10"), CLASSIFICATION, ("3", "10"), "classes from column label"),
        ("label", ("3.0", "10.0"), CLASSIFICATION, ("3.0", "10.0"), "classes from column label"),
        ("label", ("1.5", "large"), CLASSIFICATION, ("large", "1.5"), "classes from column label"),
        ("class,size", ("a,1.5", "b,2.5"), CLASSIFICATION, ("a", "b"), "classes from column class"),
        ("labels", ("a|b", "b"), MULTI_LABEL, ("a", "b"), "several classes for each image, from column labels"),
        (
            "a,b",
            ("0,1", "1,1"),
            MULTI_LABEL,
            ("a", "b"),
            "several classes for each image, from the columns of 0 and 1: a, b",
        ),
    ],
)
def test_classes_are_still_inferred(tmp_path: Path, header, cells, task, classes, note):
    source = open_source(table(tmp_path, header, *cells))
    assert found(source) == (task, "classes", classes)
    assert source.notes == (f"task classification: {note}",)


def test_zeros_and_ones_beside_fractions_are_numbers(tmp_path: Path):
    assert found(open_source(table(tmp_path, "a,b", "0,1.5", "1,2"))) == (REGRESSION, "numbers", ("a", "b"))


def test_the_task_can_be_named(tmp_path: Path):
    ages = table(tmp_path, "label", "30", "41")
    huber = TaskSpec.of("regression", loss="huber")
    assert found(open_source(ages, task=huber)) == (huber, "numbers", ("label",))
    assert found(open_source(ages, task=MULTI_LABEL)) == (MULTI_LABEL, "classes", ("30", "41"))
    assert open_source(ages, task=huber).notes == ()
    halves = table(tmp_path, "label", "0.5", "1.5")
    assert found(open_source(halves, task=CLASSIFICATION)) == (CLASSIFICATION, "classes", ("0.5", "1.5"))
    flags = table(tmp_path, "a,b", "0,1", "1,0")
    assert found(open_source(flags, task=REGRESSION)) == (REGRESSION, "numbers", ("a", "b"))
    years = table(tmp_path, "year", "1990", "2001")
    assert found(open_source(years, task=REGRESSION)) == (REGRESSION, "numbers", ("year",))
    halves = table(tmp_path, "label", "0.5", "1.5")
    other = TaskSpec("ordinal")
    assert found(open_source(halves, task=other)) == (other, "numbers", ("label",))


@pytest.mark.parametrize(
    ("header", "cells", "task", "message"),
    [
        ("year", ("1990", "2001"), None, "to predict the numbers of year use --task regression"),
        ("a,b", ("0,1", "1,0"), CLASSIFICATION, "use --task classification:labels=many"),
        ("name", ("x", "y"), REGRESSION, "no column of numbers among path, name"),
        ("label", ("a", "b"), REGRESSION, "0.png: column label has 'a', which is not a number"),
        ("labels", ("a|b",), CLASSIFICATION, "0.png: 2 labels, where the task takes one"),
    ],
)
def test_what_a_table_cannot_give_is_a_sentence(tmp_path: Path, header, cells, task, message):
    with pytest.raises(VitrailError, match=message):
        open_source(table(tmp_path, header, *cells), task=task)


def test_cells_that_are_no_number_are_named_with_line_and_column(tmp_path: Path):
    good = ["1.5,2"] * 40
    cells = [*good, "n/a,2", "1.5,", "inf,1", "1_0,1"]
    names = [f"{i}.png" for i in range(len(cells))]
    source = open_source(table(tmp_path, "x,y", *cells, names=names))
    assert source.class_names == ("x", "y")
    assert [(bad.name, bad.reason) for bad in source.bad] == [
        ("40.png", "column x has 'n/a', which is not a number (line 42)"),
        ("41.png", "column y is empty (line 43)"),
        ("42.png", "column x has 'inf', which is not a number (line 44)"),
        ("43.png", "column x has '1_0', which is not a number (line 45)"),
    ]
    assert len(source.samples) == 40


def test_a_folder_gives_classes_only(tmp_path: Path):
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("L", (4, 4)).save(tmp_path / name)
    with pytest.raises(VitrailError, match="has classes, and --task regression needs numbers"):
        open_source(tmp_path, task=REGRESSION)
    assert open_source(tmp_path, task=MULTI_LABEL).task == MULTI_LABEL
    assert open_source(tmp_path).notes == ("task classification: 2 classes",)


def test_numbers_are_left_out_where_no_labels_are_wanted(tmp_path: Path):
    source = open_source(table(tmp_path, "x", "1.5"), labelled=False)
    assert {s.labels for s in source.samples} == {()}
    assert source.class_names == ()


def test_decimal_commas_are_named(tmp_path: Path):
    path = table(tmp_path, "price", "0.5")
    path.write_text(path.read_text().replace(",", ";").replace(".5", ",5"))
    for task in (None, REGRESSION):
        with pytest.raises(VitrailError, match="write the numbers of price with a decimal point"):
            open_source(path, task=task)
