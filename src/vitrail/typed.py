"""Builds dataclasses from plain values by their type hints, strictly: the reader of model.json and of recipes."""

import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import VitrailError, nearest
from .plain import short

T = TypeVar("T")

Special = Mapping[Any, Callable[[Any, str], Any]]
"""Class -> function (value, name of the field) that builds it, for classes with a form of their own.

The function returns `NO_FIT` for a value of another kind.
"""

NO_FIT = object()


_MOST = 2**63
"""Numbers from here on do not fit into the integers of tensors."""


class UnknownField(VitrailError):  # noqa: N818 - the name of a state of a document
    """A mapping has a key that is no field of the dataclass."""


def build(
    kind: type[T], values: Any, where: str, *, special: Special | None = None, types: Mapping[str, Any] | None = None
) -> T:
    """Build a dataclass from a mapping of its fields; missing fields have their defaults.

    Integers are taken for float fields, whole floats for int fields, lists for tuples; numbers must be finite.

    Args:
        kind: the dataclass.
        values: its fields.
        where: name of the object for messages, such as "recipe.augment".
        special: see `Special`.
        types: types of some fields, in place of the dataclass's own.

    Raises:
        VitrailError: unknown field, a field without default is missing, or a value of the wrong type.
    """
    if not isinstance(values, Mapping):
        raise VitrailError(f"{where} is {short(values)}: it needs fields and their values")
    hints = {**field_types(kind), **(types or {})}
    for key in values:
        if key not in hints:
            raise UnknownField(f"{where} has no field {_word(key)}: {nearest(_word(key), hints)}")
    missing = [name for name in required_fields(kind) if name not in values]
    if missing:
        raise VitrailError(f"{where} has no {', '.join(missing)}: add it")
    return kind(**{key: convert(hints[key], value, f"{where}.{key}", special) for key, value in values.items()})


def field_types(kind: type) -> Mapping[str, Any]:
    """Field name -> type of a dataclass."""
    try:
        hints = get_type_hints(kind)
    except NameError:  # a package's own class, whose types are imported for type checkers only
        hints = {}
    return {field.name: hints.get(field.name, Any) for field in fields(kind) if field.init}


def required_fields(kind: type) -> list[str]:
    """Names of the fields of a dataclass that have no default."""
    return [
        field.name
        for field in fields(kind)
        if field.init and field.default is MISSING and field.default_factory is MISSING
    ]


def convert(hint: Any, value: Any, where: str, special: Special | None = None) -> Any:
    """Convert a plain value to the type of a field.

    Raises:
        VitrailError: it does not fit.
    """
    for option in options(hint):
        converted = _fit(option, value, where, special or {})
        if converted is not NO_FIT:
            return converted
    words = [word for option in options(hint) if get_origin(option) is Literal for word in map(str, get_args(option))]
    close = get_close_matches(value, words, n=1, cutoff=0.5) if isinstance(value, str) else []
    way_out = f"did you mean {close[0]}?" if close else f"it takes {_describe(hint)}"
    raise VitrailError(f"{where} is {short(value)}, which does not fit: {way_out}")


def options(hint: Any) -> tuple[Any, ...]:
    """The types of a union, or the type alone."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _fit(option: Any, value: Any, where: str, special: Special) -> Any:
    """The value converted to this type, or NO_FIT."""
    if option is type(None):
        return None if value is None else NO_FIT
    if option in special:
        return special[option](value, where)
    if option is float or option is int:
        return _fit_number(option, value)
    if option is bool:
        return value if isinstance(value, bool) else NO_FIT
    if option is str:
        return value if isinstance(value, str) and _is_text(value) else NO_FIT
    if is_dataclass(option) and isinstance(option, type):
        if isinstance(value, option):
            return value
        return build(option, value, where, special=special) if isinstance(value, Mapping) else NO_FIT
    return _fit_generic(option, value, where, special)


def _fit_generic(option: Any, value: Any, where: str, special: Special) -> Any:
    origin = get_origin(option) or option
    if origin is Literal:
        return next((word for word in get_args(option) if type(word) is type(value) and word == value), NO_FIT)
    if origin is tuple:
        return _fit_tuple(option, value, where, special)
    if origin in (dict, Mapping):
        return _fit_mapping(option, value, where, special)
    return _frozen(value)  # a type that only a package's own config knows; its constructor checks it


def _fit_number(option: type, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NO_FIT
    if not -_MOST < value < _MOST or not math.isfinite(value):
        return NO_FIT
    if option is float:
        return float(value)
    return int(value) if isinstance(value, int) or value.is_integer() else NO_FIT


def _fit_tuple(option: Any, value: Any, where: str, special: Special) -> Any:
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        return NO_FIT
    kinds = get_args(option)
    if not kinds:
        return _frozen(list(value))
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        return NO_FIT
    pairs = zip(kinds, value, strict=True)
    return tuple(convert(kind, item, f"{where}[{place}]", special) for place, (kind, item) in enumerate(pairs))


def _fit_mapping(option: Any, value: Any, where: str, special: Special) -> Any:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        return NO_FIT
    kinds = get_args(option)
    if not kinds or kinds[1] is Any:
        return dict(value)
    return {key: convert(kinds[1], inner, f"{where}.{_word(key)}", special) for key, inner in value.items()}


def _frozen(value: Any) -> Any:
    """Lists become tuples."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value


def _is_text(value: str) -> bool:
    """Whether a string has no halves of surrogate pairs, as JSON can have; except Python's signs for bytes that are no
    UTF-8, which names of files have."""
    return value.isascii() or not re.search("[\ud800-\udc7f\udd00-\udfff]", value)


def _word(key: Any) -> str:
    return key[:80] if isinstance(key, str) else short(key)


def _describe(hint: Any) -> str:
    words = []
    for option in options(hint):
        if get_origin(option) is Literal:
            words += [str(value) for value in get_args(option)]
        elif option is type(None):
            words.append("null")
        else:
            words.append(option.__name__ if isinstance(option, type) and not get_args(option) else str(option))
    return " or ".join(words)
