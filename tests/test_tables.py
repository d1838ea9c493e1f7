"""CSV files appear complete or not at all, and keep names that are not UTF-8."""

import csv
import os
import re
from pathlib import Path

import pytest

from vitrail.tables import complete_file, csv_text, number_text, plain_table, write_csv, write_text

ROWS = [("path", "reason"), ('a "b", c.png', "line\nbreak"), ("été", 1.5)]


def test_a_table_reads_back_as_it_was_written(tmp_path: Path):
    write_csv(tmp_path / "a.csv", ROWS)
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [[str(cell) for cell in row] for row in ROWS]
    assert (tmp_path / "a.csv").read_bytes() == csv_text(ROWS).encode()
    assert csv_text([("a", "b"), (1, 2)]) == "a,b\n1,2\n"
    assert os.listdir(tmp_path) == ["a.csv"]


def test_bytes_of_names_are_kept(tmp_path: Path):
    write_csv(tmp_path / "a.csv", [(os.fsdecode(b"caf\xe9.png"),)])
    assert (tmp_path / "a.csv").read_bytes() == b"caf\xe9.png\n"


def test_a_failure_leaves_the_old_table(tmp_path: Path):
    write_csv(tmp_path / "a.csv", [("old",)])

    def rows():
        yield ("new",)
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        write_csv(tmp_path / "a.csv", rows())
    assert (tmp_path / "a.csv").read_text() == "old\n"
    assert os.listdir(tmp_path) == ["a.csv"]


def test_bytes_are_written_whole_too(tmp_path: Path):
    with complete_file(tmp_path / "a.bin", mode="wb") as file:
        file.write(b"\r\n")
        assert re.fullmatch(r"a\.bin\.[0-9a-f]{8}\.part", *os.listdir(tmp_path))
    assert (tmp_path / "a.bin").read_bytes() == b"\r\n"


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path):
    with complete_file(tmp_path / "a.csv") as first:
        first.write("first\n" * 3)
        with complete_file(tmp_path / "a.csv") as second:
            second.write("second\n")
        assert (tmp_path / "a.csv").read_text() == "second\n"
    assert (tmp_path / "a.csv").read_text() == "first\n" * 3
    assert os.listdir(tmp_path) == ["a.csv"]


def test_a_text_is_written_whole_or_not_at_all(tmp_path: Path):
    write_text(tmp_path / "a.html", "caf\u00e9 \ud800\n")
    assert (tmp_path / "a.html").read_bytes() == "café ?\n".encode()
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_text(tmp_path / "folder", "x")
    assert sorted(os.listdir(tmp_path)) == ["a.html", "folder"]


def test_columns_are_aligned():
    assert plain_table(["model", "MB"], [["a", "1.5"], ["long", "20"]]) == "model   MB\na      1.5\nlong    20"


@pytest.mark.parametrize(
    ("value", "text"), [(0.05048, "0.05048"), (-12147.6, "-12,148"), (9999.4, "9999"), (2.5e12, "2.5e+12"), (0.0, "0")]
)
def test_numbers_keep_four_digits_and_large_ones_no_power(value: float, text: str):
    assert number_text(value) == text
