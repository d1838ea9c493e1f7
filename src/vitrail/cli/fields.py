"""Fields of a command (name, type, placeholder, help), read from its dataclass."""

import ast
import inspect
import textwrap
import types
from dataclasses import MISSING, Field, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from ..errors import VitrailError, nearest
from .options import Option


@dataclass(frozen=True, slots=True)
class CommandField:
    """One argument or option of a command.

    Attributes:
        name: name of the dataclass field.
        types: possible types of a value without None: (int,) for `int | None`.
        required: whether the field has no default.
        default: its default; None if it is required.
        option: its `Option`, with help and metavar set.
    """

    name: str
    types: tuple[Any, ...]
    required: bool
    default: Any
    option: Option

    @property
    def flag(self) -> str:
        """Flag such as --batch-size; for a bool that is true by default the negated flag, such as --no-open."""
        return ("--no-" if self.default is True else "--") + self.name.replace("_", "-")

    @property
    def is_switch(self) -> bool:
        """Whether the field is a bool, which takes no value."""
        return self.types == (bool,)

    @property
    def is_list(self) -> bool:
        """Whether the field takes any number of values: a list or a `tuple[X, ...]`."""
        return len(self.types) == 1 and get_origin(self.types[0]) in (list, tuple) and _length(self.types[0]) is None

    @property
    def most_values(self) -> int | None:
        """Largest number of values; None for any number."""
        return None if self.is_list else max(_length(kind) or 1 for kind in self.types)

    def convert(self, values: list[str]) -> Any:
        """Convert strings of the command line to the field's value.

        Raises:
            VitrailError: the values fit none of the types.
        """
        for kind in self.types:
            try:
                return _convert(kind, values)
            except ValueError:
                continue
        raise VitrailError(f"{self.shown} takes {self._wanted()}, not {' '.join(values)!r}")

    @property
    def shown(self) -> str:
        """Name of the field in messages."""
        return self.option.metavar if self.option.positional else self.flag

    @property
    def choices(self) -> tuple[str, ...]:
        """Valid words; empty if any value is valid."""
        found = [word for kind in self.types for word in _choices(kind)]
        return tuple(found) if all(_choices(kind) for kind in self.types) else ()

    def _wanted(self) -> str:
        return " or ".join(dict.fromkeys(_in_words(kind) for kind in self.types))


def command_fields(command: type) -> list[CommandField]:
    """Return the fields of a command's dataclass in order: its own first, then those of its base class, and so on."""
    hints = get_type_hints(command, include_extras=True)
    docs, owners = _field_docs(command), [inspect.get_annotations(owner) for owner in command.__mro__]
    ordered = sorted(fields(command), key=lambda field: [field.name in own for own in owners].index(True))
    return [_field(field, hints[field.name], docs.get(field.name, "")) for field in ordered]


def _field(field: Field[Any], hint: Any, doc: str) -> CommandField:
    option = Option()
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        option = next((extra for extra in extras if isinstance(extra, Option)), option)
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = tuple(kind for kind in kinds if kind is not types.NoneType)
    required = field.default is MISSING and field.default_factory is MISSING
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    metavar = option.metavar or _metavar(field.name, kinds)
    filled = replace(option, help=" ".join((doc or option.help).split()), metavar=metavar)
    return CommandField(field.name, kinds, required, None if required else default, filled)


def _field_docs(command: type) -> dict[str, str]:
    """Docstrings under the fields, by name, parsed from the source, since Python does not keep them."""
    found: dict[str, str] = {}
    for owner in reversed(command.__mro__[:-1]):
        try:
            body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        except (OSError, TypeError):  # defined at run time, or installed without source
            continue
        assert isinstance(body, ast.ClassDef)
        for statement, after in zip(body.body, body.body[1:], strict=False):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                found |= _doc(statement.target.id, after)
    return found


def _doc(name: str, statement: ast.stmt) -> dict[str, str]:
    match statement:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return {name: text}
    return {}


def _metavar(name: str, kinds: tuple[Any, ...]) -> str:
    words = "|".join(word for kind in kinds for word in _choices(kind))
    if len(kinds) == 1 and words and len(words) <= 30:
        return words
    scalars = [_scalar(kind) for kind in kinds]
    if int in scalars:
        return "N"
    if float in scalars:
        return "NUMBER"
    if Path in scalars:
        return "PATH"
    plural = any(get_origin(kind) in (list, tuple) for kind in kinds)
    return (name.removesuffix("s") if plural else name).upper().replace("_", "-")


def _scalar(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) in (list, tuple) else kind


def _length(kind: Any) -> int | None:
    """Number of values of a type: 2 for tuple[int, int]; None for any number."""
    if get_origin(kind) is list or (get_origin(kind) is tuple and Ellipsis in get_args(kind)):
        return None
    return len(get_args(kind)) if get_origin(kind) is tuple else 1


def _choices(kind: Any) -> tuple[str, ...]:
    scalar = _scalar(kind)
    return tuple(map(str, get_args(scalar))) if get_origin(scalar) is Literal else ()


def _convert(kind: Any, values: list[str]) -> Any:
    if get_origin(kind) in (list, tuple):
        if (_length(kind) is None and _scalar(kind) in (int, float)) or _choices(kind):
            values = [part for value in values for part in value.split(",")]  # 8,16 is 8 16
        if _length(kind) not in (None, len(values)):
            raise ValueError
        return get_origin(kind)(_convert_one(_scalar(kind), value) for value in values)
    if len(values) != 1:
        raise ValueError
    return _convert_one(kind, values[0])


def _convert_one(kind: Any, value: str) -> Any:
    if get_origin(kind) is Literal:
        for choice in get_args(kind):
            if str(choice) == value:
                return choice
        raise ValueError
    return kind(value)


def _in_words(kind: Any) -> str:
    if words := _choices(kind):
        return f"one of {', '.join(words)}" if len(words) > 1 else words[0]
    name = {int: "a whole number", float: "a number"}.get(_scalar(kind), "a value")
    count = _length(kind)
    return f"{count} {name.split(' ', 1)[1]}s" if count and count > 1 else name


def unknown_option(name: str, known: list[CommandField]) -> str:
    """Error message for an option that a command does not have."""
    flags = [field.flag for field in known if not field.option.positional]
    return f"there is no option {name}: {nearest(name, flags)}"
