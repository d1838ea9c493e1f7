"""Labels in tables as people write them: lists in a cell, odd cells, odd files, columns that are no labels."""

from pathlib import Path

import pytest
from PIL import Image

from vitrail.data.label_cells import find_separator, labels
from vitrail.data.open import Source, open_source
from vitrail.errors import VitrailError
from vitrail.task_spec import CLASSIFICATION, MULTI_LABEL, REGRESSION, TaskSpec


def images(root: Path, count: int) -> list[str]:
    names = [f"{i}.png" for i in range(count)]
    for i, name in enumerate(names):
        Image.new("L", (4, 4), i).save(root / name)
    return names


def labelled(root: Path, cells: list[str], task: TaskSpec | None = None) -> Source:
    """A table of one label column; cells are quoted."""
    rows = [f'{name},"{cell}"' for name, cell in zip(images(root, len(cells)), cells, strict=True)]
    (root / "t.csv").write_text("\n".join(["path,label", *rows]))
    return open_source(root / "t.csv", task=task)


def names_of(source: Source) -> list[set[str]]:
    return [{source.class_names[i] for i in sample.labels} for sample in source.samples]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("cat", ["cat"]),
        ("cat|dog; cow", ["cat", "dog", "cow"]),
        ("['cat', 'dog']", ["cat", "dog"]),
        ("['cat' 'dog']", ["cat", "dog"]),  # NumPy's way
        ('["it\'s", "a dog"]', ["it's", "a dog"]),
        ("{'cat'}", ["cat"]),
        ("('cat',)", ["cat"]),
        ("[cat, big dog]", ["cat", "big dog"]),
        ("[3, 5]", ["3", "5"]),
        ("[3]", ["3"]),
        ("[]", []),
        ("[unknown]", ["[unknown]"]),
        ("dog (brown)", ["dog (brown)"]),
        ("(brown)", ["(brown)"]),
    ],
)
def test_cells_with_one_class_or_a_list(cell: str, expected: list[str]):
    assert labels(cell) == expected


@pytest.mark.parametrize(
    ("cells", "many", "separator", "note"),
    [
        (["cat", "dog", "cat,dog"], None, ",", "separated by commas"),
        (["cat, dog", "dog,cow", "cat"], None, ",", "separated by commas"),
        (["tench, Tinca tinca", "goldfish, Carassius auratus"], None, "", ""),  # names of ImageNet
        (["maillot", "maillot, tank suit", "crane", "tench, Tinca tinca"], None, "", "write maillot|tank suit"),
        (["apple, left", "apple, right", "pear, left", "pear, right"], None, "", "write apple|left"),
        (["cat,dog", "dog"], True, ",", "separated by commas"),
        (["cat,dog", "cat", "dog"], False, "", ""),
        (["cat dog", "cat", "dog"], None, "", "write cat|dog"),
        (["red car", "blue car", "car"], None, "", ""),
        (["haze primary", "clear primary", "clear", "haze", "clear haze"], True, " ", "separated by spaces"),
        (["1,5", "2,5", "3"], None, "", "decimal commas, such as '1,5'"),
        (["cat", "dog"], None, "", ""),
    ],
)
def test_what_separates_classes(cells: list[str], many: bool | None, separator: str, note: str):
    found = find_separator(cells, "label", many)
    assert found[0] == separator
    assert note in found[1]
    assert bool(note) == bool(found[1])


def test_a_list_in_a_cell_is_several_classes(tmp_path: Path):
    source = labelled(tmp_path, ["cat", "dog", "cat,dog", "['dog', 'cow']", "[]"])
    assert (source.task, source.class_names) == (MULTI_LABEL, ("cat", "cow", "dog"))
    assert names_of(source) == [{"cat"}, {"dog"}, {"cat", "dog"}, {"dog", "cow"}, set()]
    assert source.notes == (
        "task classification: several classes for each image, from column label",
        "the classes in column label are separated by commas",
    )


def test_the_task_decides_between_a_list_and_a_name(tmp_path: Path):
    cells = ["cat", "dog", "cat,dog"]
    assert labelled(tmp_path, cells, CLASSIFICATION).class_names == ("cat", "cat,dog", "dog")
    assert labelled(tmp_path, [*cells[:2], "dog,cat"], MULTI_LABEL).class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ("", "column cat is empty"),
        ("-1", "column cat has '-1', which is neither 0 nor 1"),
        ("O", "column cat has 'O', which is neither 0 nor 1"),
        ("0.5", "column cat has '0.5', which is neither 0 nor 1"),
        ("7", "column cat has '7', which is neither 0 nor 1"),
    ],
)
def test_an_odd_cell_is_a_bad_row_and_no_lost_class(tmp_path: Path, odd: str, reason: str):
    rows = ["1,0", "0,1", f"{odd},1", "1,1"]
    lines = [f"{name},{row}" for name, row in zip(images(tmp_path, 4), rows, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["path,cat,dog", *lines]))
    source = open_source(tmp_path / "t.csv")
    assert (source.task, source.class_names) == (MULTI_LABEL, ("cat", "dog"))
    assert names_of(source) == [{"cat"}, {"dog"}, {"cat", "dog"}]
    assert [(bad.name, bad.reason) for bad in source.bad] == [("2.png", f"{reason} (line 4)")]


def test_zeros_and_ones_as_other_programs_write_them(tmp_path: Path):
    rows = ["1.0,True", "0.0,FALSE", "0,true"]
    lines = [f"{name},{row}" for name, row in zip(images(tmp_path, 3), rows, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["path,cat,dog", *lines]))
    assert names_of(open_source(tmp_path / "t.csv")) == [{"cat", "dog"}, set(), {"dog"}]


def several(root: Path, header: str, rows: list[str]) -> Source:
    lines = [f"{name},{row}" for name, row in zip(images(root, len(rows)), rows, strict=True)]
    (root / "t.csv").write_text("\n".join([f"path,{header}", *lines]))
    return open_source(root / "t.csv")


def test_columns_that_are_no_labels(tmp_path: Path):
    source = several(tmp_path, "id,fold,is_valid,cat,dog,rare", ["0,0,True,1,0,", "1,1,False,0,1,1", "2,0,False,1,1,"])
    assert source.class_names == ("cat", "dog")
    way = "is not used: to split by it, call it split and write train, val or test in it"
    assert source.notes[1:] == (
        f"column fold {way}",
        f"column is_valid {way}",
        "column rare is not used: most of its cells are empty",
    )


def test_beside_a_label_column_no_other_is_missed(tmp_path: Path):
    source = several(tmp_path, "label,fold,score", ["cat,0,", "dog,1,2.5", "cat,0,"])
    assert [note.split(":")[0] for note in source.notes] == ["task classification", "column fold is not used"]


def test_an_index_is_no_number_to_predict(tmp_path: Path):
    source = several(tmp_path, "Unnamed: 0,height", ["0,1.5", "1,2.5"])
    assert (source.task, source.class_names) == (REGRESSION, ("height",))


def test_one_odd_cell_does_not_change_numbers_into_classes(tmp_path: Path):
    source = several(tmp_path, "label", ["1.5", "2.5", "n/a"])
    assert source.task == REGRESSION
    assert [bad.reason for bad in source.bad] == ["column label has 'n/a', which is not a number (line 4)"]


def test_a_class_twice_in_the_header(tmp_path: Path):
    with pytest.raises(VitrailError, match="two columns called cat: give each"):
        several(tmp_path, "cat,dog,cat", ["0,1,1", "1,0,0"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sep=;\npath;label\n0.png;cat\n1.png;dog\n", {"cat", "dog"}),
        ('"sep=\t"\r\npath\tlabel\r\n0.png\tcat\r\n1.png\tdog\r\n', {"cat", "dog"}),
        ('path;label;"size, in mm, or inches";x\n0.png;cat;1;\n1.png;dog;2;\n', {"cat", "dog"}),
        ("path;label;size, in mm, or inches;x\n0.png;cat;1;\n1.png;dog;2;\n", {"cat", "dog"}),
        ('path, label\n0.png, "cat, the"\n1.png, "dog"\n', {"cat, the", "dog"}),
        ("\n\npath,label\n0.png,cat\n1.png,dog\n", {"cat", "dog"}),
    ],
)
def test_files_as_spreadsheets_write_them(tmp_path: Path, text: str, expected: set[str]):
    images(tmp_path, 2)
    (tmp_path / "t.csv").write_bytes(text.encode())
    source = open_source(tmp_path / "t.csv")
    assert ([s.name for s in source.samples], set(source.class_names)) == (["0.png", "1.png"], expected)


def test_an_empty_cell_beside_lists_names_the_empty_list(tmp_path: Path):
    source = labelled(tmp_path, ["cat|dog", "[]", "", "cat"])
    assert [sample.labels for sample in source.samples] == [(0, 1), (), (0,)]
    assert [bad.reason for bad in source.bad] == ["no label: write [] if it has none of the classes (line 4)"]


def test_lines_are_counted_as_an_editor_does(tmp_path: Path):
    images(tmp_path, 1)
    (tmp_path / "t.csv").write_text('sep=,\npath,label,note\n0.png,cat,"two\nlines"\n0.png,,\n')
    assert [bad.reason for bad in open_source(tmp_path / "t.csv").bad] == ["no label (line 5)"]
    (tmp_path / "t.csv").write_text('path,label\n0.png,cat\n0.png,"dog"s\n')
    with pytest.raises(VitrailError, match=r"is not a CSV: .* \(after line 2\)"):
        open_source(tmp_path / "t.csv")


def test_paths_of_windows(tmp_path: Path):
    (tmp_path / "a/b").mkdir(parents=True)
    Image.new("L", (4, 4)).save(tmp_path / "a/b/1.png")
    Image.new("L", (4, 4)).save(tmp_path / "odd\\name.png")
    (tmp_path / "t.csv").write_text("path,label\na\\b\\1.png,cat\nodd\\name.png,dog\n")
    assert [s.name for s in open_source(tmp_path / "t.csv").samples] == ["a/b/1.png", "odd\\name.png"]


def test_one_number_has_one_spelling(tmp_path: Path):
    with pytest.raises(VitrailError, match=r"the classes 1 and 1\.0 of .* are one number"):
        labelled(tmp_path, ["1", "2", "1.0"])
    assert labelled(tmp_path, ["007", "7"]).class_names == ("007", "7")


def test_what_has_no_width_makes_no_class(tmp_path: Path):
    assert labelled(tmp_path, ["cat", "cat\u200b", "\ufeffcat", "\u00a0dog"]).class_names == ("cat", "dog")


def test_two_columns_of_one_name_are_refused(tmp_path: Path):
    images(tmp_path, 2)
    for header in ("path,label,Label", "path,Path,label"):
        (tmp_path / "t.csv").write_text(f"{header}\n0.png,a,b\n1.png,b,a")
        with pytest.raises(VitrailError, match=r"has two columns called (label|path): keep one"):
            open_source(tmp_path / "t.csv")


def test_an_empty_column_is_noted(tmp_path: Path):
    images(tmp_path, 2)
    (tmp_path / "t.csv").write_text("path,cat,dog,owl,\n0.png,1,0,,\n1.png,0,1,,")
    source = open_source(tmp_path / "t.csv")
    assert source.class_names == ("cat", "dog")
    assert [note for note in source.notes if "not used" in note] == ["column owl is not used: it is empty"]


def test_a_table_of_many_classes(tmp_path: Path):
    images(tmp_path, 2)
    names = [f"{'c' * 150}{number}" for number in range(900)]  # the header is longer than the longest cell may be
    rows = [f"{i}.png," + ",".join("1" if n % 2 == i else "0" for n in range(len(names))) for i in range(2)]
    (tmp_path / "t.csv").write_text("\n".join([",".join(["path", *names]), *rows]))
    source = open_source(tmp_path / "t.csv")
    assert len(source.class_names) == 900
    assert source.samples[1].labels == tuple(range(1, 900, 2))
    assert max(map(len, source.notes)) < 6_000
