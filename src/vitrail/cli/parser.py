"""Parser of the words of a command line to a command's dataclass."""

from argparse import SUPPRESS, ArgumentParser
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar

from ..errors import VitrailError
from .fields import CommandField, command_fields, unknown_option

T = TypeVar("T")


def parse(command: type[T], words: Sequence[str]) -> T:
    """Return the command with the values of the words; other fields have their defaults.

    Raises:
        VitrailError: an unknown option, a value of the wrong type, or a missing argument.
    """
    known = command_fields(command)
    parser = _Parser(add_help=False, allow_abbrev=False, argument_default=SUPPRESS)
    for field in known:
        if not field.option.positional:
            _add(parser, field)
    end = words.index("--") if "--" in words else len(words)
    found, places = parser.parse_known_args(words[:end])
    if option := next((word for word in places if word.startswith("-")), None):
        raise VitrailError(unknown_option(option.split("=")[0], known))
    # argparse itself would pass nothing to an optional argument after an option.
    given = vars(found) | _by_place([*places, *words[end + 1 :]], known)
    if missing := [field.shown for field in known if field.required and field.name not in given]:
        raise VitrailError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    return command(**{field.name: _value(field, given[field.name]) for field in known if field.name in given})


def _by_place(words: list[str], known: list[CommandField]) -> dict[str, list[str]]:
    """Words of each positional argument: one each, and all remaining ones for a list."""
    given: dict[str, list[str]] = {}
    for field in known:
        if field.option.positional and words:
            count = len(words) if field.is_list else 1
            given[field.name], words = words[:count], words[count:]
    if words:
        raise VitrailError(f"{words[0]!r} is one argument too many")
    return given


def _add(parser: ArgumentParser, field: CommandField) -> None:
    names = [name for name in (field.option.short, field.flag) if name]
    if field.is_switch:
        parser.add_argument(*names, dest=field.name, action="store_const", const=not field.default)
    else:
        # A list may be given in parts: --set lr=1e-3 --set ema=0.9.
        action = "extend" if field.is_list else "store"
        parser.add_argument(*names, dest=field.name, nargs=None if field.most_values == 1 else "+", action=action)


def _value(field: CommandField, given: Any) -> Any:
    if field.is_switch:
        return given
    return field.convert(given if isinstance(given, list) else [given])


class _Parser(ArgumentParser):
    """argparse with errors that are raised instead of printed."""

    def error(self, message: str) -> NoReturn:
        name, _, reason = message.removeprefix("argument ").partition(": ")
        flag = name.split("/")[-1]
        if reason.startswith("expected"):
            raise VitrailError(f"{flag} needs a value")
        raise VitrailError(f"{flag}: {reason}" if reason else message)
