"""The help pages and the parser of the command line, on made-up commands and on all real ones."""

import re
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal, get_args

import pytest

from vitrail.cli.fields import command_fields
from vitrail.cli.help import command_help
from vitrail.cli.main import COMMANDS, main
from vitrail.cli.options import CheckpointArgument, Device, Option, Out, Precision, SourcesArgument, Split
from vitrail.cli.parser import parse
from vitrail.errors import VitrailError


@dataclass
class Crop:
    """Crop images.

    Each image is cut to its object, and the rest is thrown away, which is a sentence that needs two lines at 80.

    Examples:
        vitrail crop runs/a photos/ -o out
    """

    checkpoint: CheckpointArgument
    images: SourcesArgument
    out: Out
    """Folder to write to."""
    size: int | tuple[int, int] | None = None
    """Side, or height and width."""
    limit: int | Literal["all"] = 200
    """Images to use."""
    levels: tuple[float, ...] = (0.5, 1.0)
    """Some levels."""
    kind: Literal["soft", "hard"] = "soft"
    """Kind of the cut."""
    note: Annotated[str | None, Option(metavar="TEXT")] = None
    """Written into the file."""
    quiet: bool = False
    """Print nothing."""
    open: bool = True
    """Do not open the result."""
    set: list[str] = field(default_factory=list)
    """Other values."""
    device: Device = "auto"
    precision: Precision = "auto"


PAGE = """\
Usage: vitrail crop [OPTIONS] CHECKPOINT SOURCE... --out PATH

Crop images.

Each image is cut to its object, and the rest is thrown away, which is a
sentence that needs two lines at 80.

Arguments:
  CHECKPOINT  A run folder, a checkpoint folder or file, weights of another
              library, or a hub id.
  SOURCE...   Images: a file, a folder of any depth, a glob, a CSV, tar shards,
              or a named data set such as digits.

Options:
  --size N            Side, or height and width.
  --limit N           Images to use. [default: 200]
  --levels NUMBER...  Some levels. [default: 0.5 1.0]
  --kind soft|hard    Kind of the cut. [default: soft]
  --note TEXT         Written into the file.
  --quiet             Print nothing.
  --no-open           Do not open the result.
  --set SET...        Other values.
  -h, --help          Show this page.

Running the model:
  --device DEVICE     auto, cpu, cuda or cuda:1. [default: auto]
  --precision FORMAT  Number format of matrix products. auto: bfloat16 if the
                      hardware supports it, else float32. One of auto, float32,
                      bfloat16, float16. [default: auto]

Output:
  -o, --out PATH  Folder to write to.

Examples:
  vitrail crop runs/a photos/ -o out"""


def test_a_page_is_laid_out_as_in_other_tools() -> None:
    assert command_help("crop", Crop, 80) == PAGE


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ["", "study", *(command.name for command in COMMANDS)])
def test_every_page_fits_the_terminal_and_explains_every_option(capsys, monkeypatch, name, width) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit) as end:
        main([*name.split(), "--help"])
    assert not end.value.code
    page = capsys.readouterr().out
    assert f"Usage: vitrail {name}" in page
    assert max(map(len, page.splitlines())) <= width
    assert not re.search(r"None|\{|\bSTR\b|\bINT\b|picture|MISSING|<class", page)
    if any(command.name == name for command in COMMANDS):
        assert f"Examples:\n  vitrail {name}" in page
        listed = re.findall(r"^  (?:-\w, )?(--[\w-]+|[A-Z][A-Z-]+)(?:\.\.\.)?(?: \S+)?(.*(?:\n {6,}.*)*)$", page, re.M)
        assert listed
        assert all(re.search(r"[a-z]{3}", text) for _, text in listed), listed


def test_shared_options_are_the_same_in_every_command() -> None:
    """Where a command writes is -o/--out everywhere, and what runs a model is described once."""
    shared = {"checkpoint": CheckpointArgument, "precision": Precision, "split": Split}
    for command in COMMANDS:
        module, _, name = command.module.partition(":")
        for option in command_fields(getattr(import_module(f"vitrail.cli.{module}"), name)):
            runs_there = (command.name, option.name) == ("advise", "target")  # a kind of machine
            assert runs_there or option.name not in ("output", "target", "destination"), command
            assert (option.option.short == "-o") == (option.name == "out"), command
            if option.name in shared:
                assert option.option.help == get_args(shared[option.name])[1].help, command


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("run a.png b.png -o out", {"images": ["a.png", "b.png"], "out": Path("out"), "size": None, "open": True}),
        ("run --out=out a.png --size 3", {"images": ["a.png"], "size": 3}),
        ("--quiet run --size 3 4 -o out a.png", {"checkpoint": "run", "size": (3, 4), "quiet": True}),
        ("run a -o out --limit all --levels 1 2 --no-open", {"limit": "all", "levels": (1.0, 2.0), "open": False}),
        ("run a -o out --limit 7 --kind hard --set x=-1 y", {"limit": 7, "kind": "hard", "set": ["x=-1", "y"]}),
        ("run a -o out --set lr=1 x=2 --kind hard --set y=3", {"kind": "hard", "set": ["lr=1", "x=2", "y=3"]}),
        ("-o out -- run -a.png", {"images": ["-a.png"]}),
    ],
)
def test_words_become_values(words, values) -> None:
    found = vars(parse(Crop, words.split()))
    assert {name: found[name] for name in values} == values


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("run", "SOURCE and --out are missing"),
        ("run a", "--out is missing"),
        ("run a -o", "--out needs a value"),
        ("run a -o out --kind sift", "--kind takes one of soft, hard, not 'sift'"),
        ("run a -o out --limit some", "--limit takes a whole number or all, not 'some'"),
        ("run a -o out --size 1 2 3", "--size takes a whole number or 2 whole numbers, not '1 2 3'"),
        ("run a -o out --size x", "--size takes a whole number or 2 whole numbers, not 'x'"),
        ("run a -o out --levels 1 b", "--levels takes a number, not '1 b'"),
        ("run a -o out --lvels 1", "there is no option --lvels: did you mean --levels?"),
        ("run a -o out --quiet=1", "--quiet: ignored explicit argument '1'"),
    ],
)
def test_wrong_words_are_sentences(words, message) -> None:
    with pytest.raises(VitrailError) as caught:
        parse(Crop, words.split())
    assert str(caught.value) == message
