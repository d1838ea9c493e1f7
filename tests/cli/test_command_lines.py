"""Command lines in README.md, docs and help pages: commands and options that exist, with values of the right type."""

import inspect
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from vitrail.cli.fields import command_fields
from vitrail.cli.main import COMMANDS
from vitrail.cli.parser import parse

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OTHER = {"weigh"}
"""Commands of made-up packages."""


def command_class(name: str) -> type:
    module = next(row.module for row in COMMANDS if row.name == name)
    file, _, kind = module.partition(":")
    found: type = vars(import_module(f"vitrail.cli.{file}"))[kind]
    return found


def split_command(line: str) -> tuple[str, list[str]] | None:
    """Name and arguments of a command line; None if it is of another package."""
    words = shlex.split(line.replace("…", ""), comments=True)[1:]
    if words[0] in OTHER:
        return None
    count = 1 + any(row.name == " ".join(words[:2]) for row in COMMANDS)
    return " ".join(words[:count]), words[count:]


def lines_of_blocks(text: str) -> list[str]:
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith("vitrail ")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_command_lines_of_a_page_can_be_parsed(page: Path) -> None:
    for line in lines_of_blocks(page.read_text(encoding="utf-8")):
        if found := split_command(line):
            parse(command_class(found[0]), found[1])


@pytest.mark.parametrize("name", [row.name for row in COMMANDS])
def test_the_examples_of_a_help_page_can_be_parsed(name: str) -> None:
    examples = (inspect.getdoc(command_class(name)) or "").partition("Examples:\n")[2].strip().splitlines()
    for line in examples:
        found = split_command(line)
        assert found is not None
        assert found[0] == name
        parse(command_class(name), found[1])


def test_options_named_in_sentences_exist() -> None:
    flags = {field.flag for row in COMMANDS for field in command_fields(command_class(row.name))}
    flags |= {"--help", "--version"}
    for page in PAGES:
        named = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", page.read_text(encoding="utf-8")))
        assert named <= flags, page


def test_every_command_is_documented() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [row.name for row in COMMANDS if f"vitrail {row.name}" not in text] == []
