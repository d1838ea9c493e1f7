"""Seeded fuzz of the table reader: any text is a source or a sentence, and what was written well is read as it was."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from vitrail.data.open import open_source
from vitrail.data.samples import normal
from vitrail.errors import VitrailError
from vitrail.task_spec import CLASSIFICATION

FUZZ = settings(
    max_examples=600,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
HEADERS = st.sampled_from(["", "path,label\n", "path;x;y;z\n", "sep=;\npath;label;split\n", "file\tcat\tdog\tfold\n"])
CELLS = (
    *("path", "label", "split", "a.png", "b.png", "a\\b.png", "cat", "dog", "cat,dog", "['cat', 'dog']", "[", "]"),
    *("0", "1", "1.0", "-1", "0,5", "0.5", "nan", "1e999", "²", "①", "train", "sep=;", "sep=", "id", "fold", "é"),
    *(" ", "", "\ufeff", "\0", "\u2028", "\x1c", "e\u0301", "\\", "/", "..", "|", "x" * 300),
)
PIECES = st.sampled_from(
    [*CELLS, *(f'"{cell}"' for cell in CELLS), "a.png,", "\nb.png;", *",;\t,;\t\"'\n\n\n\r", "\r\n", "\na.png,0,1\n"]
)
NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="|;[](){}"), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    for name in ("a.png", "b.png"):
        Image.new("L", (4, 4)).save(folder / name)
    return folder / "t.csv"


@pytest.mark.exhaustive
@FUZZ
@given(HEADERS, st.lists(PIECES, max_size=40))
def test_any_text_is_a_source_or_a_sentence(place: Path, header: str, pieces: list[str]):
    place.write_bytes("".join([header, *pieces]).encode())
    try:
        source = open_source(place)
    except VitrailError:
        return
    for sample in source.samples:
        assert sample.name in ("a.png", "b.png", "./a.png", "./b.png") or (place.parent / sample.name).is_file()
        if source.label_kind == "classes":
            assert all(0 <= label < len(source.class_names) for label in sample.labels)
        else:
            assert len(sample.labels) == len(source.class_names)
    assert len(set(source.class_names)) == len(source.class_names)


@pytest.mark.exhaustive
@FUZZ
@given(
    st.lists(NAMES.map(normal).filter(bool), min_size=1, max_size=6, unique_by=str.casefold),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.booleans(),
)
def test_a_well_written_table_is_read_as_it_was_written(
    place: Path, labels: list[str], delimiter: str, quoting: int, is_excel: bool
):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([("path", "label"), *((("a.png", "b.png")[i % 2], label) for i, label in enumerate(labels))])
    place.write_bytes((f"sep={delimiter}\r\n" * is_excel + text.getvalue()).encode("utf-8-sig"))
    source = open_source(place, task=CLASSIFICATION)
    assert source.bad == ()
    assert [source.class_names[sample.labels[0]] for sample in source.samples] == labels
