"""A run on files whose names are not UTF-8 or have line ends: trained, resumed, explained, listed."""

import csv
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from killable_runs import SMALL, make_pictures

import vitrail


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="file names are Unicode there")
def test_a_run_on_odd_names(tmp_path: Path):
    source = make_pictures(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")), classes=2, each=10)
    names = (b"\xff.png", b"a\rb.png", "①²₂.png".encode(), b"a\r\nb\n.png")
    for index, name in enumerate(names):
        os.rename(source / f"class 0/{index}.png", os.fsencode(source / "class 0") + b"/" + name)
    (source / "class 1").rename(source / os.fsdecode(b"cl\rass \xe9"))
    run = vitrail.train(source, replace(SMALL, epochs=1, save_minutes=5.0), out=tmp_path / "run")
    assert run.checkpoint.class_names == (r"cl\rass \xe9", "class 0")
    with (run.path / "splits.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        listed = {os.fsencode(Path(row["name"]).name) for row in csv.DictReader(file)}
    assert listed == {*names, *(f"{index}.png".encode() for index in range(10))}
    vitrail.resume(run.path)
    paths = vitrail.explain(run.path, source / f"class 0/{os.fsdecode(names[0])}", out=tmp_path / "pages")
    assert paths[0].suffix == ".png"
    assert all(path.stat().st_size for path in paths)
