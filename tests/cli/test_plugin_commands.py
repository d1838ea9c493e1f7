"""Commands of other packages: listed without importing them, found by name, with help and failures like ours."""

import sys
from pathlib import Path

import pytest

from vitrail.cli.main import main

MODULE = """
from dataclasses import dataclass

from vitrail.cli.options import CheckpointArgument
from vitrail.errors import VitrailError

@dataclass
class Weigh:
    \"\"\"Weigh a checkpoint.

    Examples:
        vitrail weigh runs/a
    \"\"\"

    checkpoint: CheckpointArgument
    grams: bool = False
    \"\"\"Print grams.\"\"\"

    def run(self) -> None:
        if self.checkpoint == "nothing":
            raise VitrailError("nothing weighs nothing")
        print(self.checkpoint, self.grams)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that adds the command "weigh" and a second one that cannot be imported."""
    (tmp_path / "weighing.py").write_text(MODULE)
    metadata = tmp_path / "weighing-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: weighing\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[vitrail.commands]\nweigh = weighing:Weigh\nbroken = nowhere:Gone\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "weighing", raising=False)
    return "weighing"


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    printed = capsys.readouterr()
    return end.value.code or 0, printed.out, printed.err


def test_it_is_listed_without_being_imported(capsys, package):
    status, out, _ = call(capsys, "--help")
    assert status == 0
    assert "From other packages:\n  broken\n  weigh\n" in out
    assert package not in sys.modules


def test_it_runs_like_ours(capsys, package):
    assert call(capsys, "weigh", "runs/a", "--grams") == (0, "runs/a True\n", "")
    assert call(capsys, "weigh", "nothing") == (1, "", "vitrail: nothing weighs nothing\n")
    assert "Usage: vitrail weigh [OPTIONS] CHECKPOINT" in call(capsys, "weigh", "--help")[1]
    assert "Print grams." in call(capsys, "weigh", "--help")[1]
    assert "did you mean weigh?" in call(capsys, "wiegh")[2]


def test_one_that_cannot_be_imported_is_a_sentence(capsys, package):
    status, _, err = call(capsys, "broken")
    assert status == 2
    assert "command 'broken' of weighing (nowhere:Gone) cannot be imported" in err
