"""Help page of a command: usage, description, options in sections, and examples."""

import inspect
import re
from typing import Any

from .fields import CommandField, command_fields
from .layout import pairs, wrapped
from .options import COMPUTE, OUTPUT

_HELP = ("-h, --help", "Show this page.")


def command_help(name: str, command: type, width: int) -> str:
    """Return the help page of a command.

    Args:
    name: name of the command, such as "study layers".
    command: dataclass of the command. The docstring is the description, with examples after a line "Examples:".
    width: maximum length of a line.
    """
    known = command_fields(command)
    description, _, examples = (inspect.getdoc(command) or "").partition("Examples:\n")
    blocks = [_usage(name, known, width), wrapped(description, width)]
    arguments = [field for field in known if field.option.positional]
    if arguments:
        blocks.append("Arguments:\n" + pairs([(_heading(field), _text(field)) for field in arguments], width))
    for section, found in _sections(known):
        rows = [(_heading(field), _text(field)) for field in found] + ([_HELP] if section == "Options" else [])
        blocks.append(f"{section}:\n" + pairs(rows, width))
    if examples:
        blocks.append("Examples:\n" + "\n".join(f"  {line.strip()}" for line in examples.strip().splitlines()))
    return "\n\n".join(blocks)


def _sections(known: list[CommandField]) -> list[tuple[str, list[CommandField]]]:
    """Options by section: first those of this command, then those that commands share."""
    named = [field for field in known if not field.option.positional]
    found = dict.fromkeys(["Options", *(field.option.section for field in named)])
    sections = [*(section for section in found if section not in (COMPUTE, OUTPUT)), COMPUTE, OUTPUT]
    rows = [(section, [field for field in named if field.option.section == section]) for section in sections]
    return [(section, fields) for section, fields in rows if fields or section == "Options"]


def _usage(name: str, known: list[CommandField], width: int) -> str:
    words = ["[OPTIONS]"] if any(not field.option.positional for field in known) else []
    for field in known:
        if field.required and not field.option.positional:
            words.append(f"{field.flag} {field.option.metavar}")
        elif field.option.positional:
            word = field.option.metavar + ("..." if field.is_list else "")
            words.append(word if field.required else f"[{word}]")
    return wrapped(f"Usage: vitrail {name} {' '.join(words)}", width, indent="    ")


def _heading(field: CommandField) -> str:
    if field.option.positional:
        return field.option.metavar + ("..." if field.is_list else "")
    names = ", ".join(name for name in (field.option.short, field.flag) if name)
    if field.is_switch:
        return names
    return f"{names} {field.option.metavar}{'...' if field.is_list else ''}"


def _text(field: CommandField) -> str:
    words = [field.option.help]
    shown = {*re.findall(r"\w+", f"{field.option.help} {field.option.metavar}")}
    if field.choices and not shown.issuperset(field.choices):
        words.append(f"{'Any' if field.is_list else 'One'} of {', '.join(field.choices)}.")
    default = field.option.shown_default if field.default is None else _default(field.default)
    if default and not field.is_switch:
        words.append(f"[default: {default}]")
    return " ".join(filter(None, words))


def _default(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
