"""JSON and YAML from files of others as plain values, with limits: size, nesting, duplicate keys, YAML aliases."""

import json
import re
import reprlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import VitrailError

if TYPE_CHECKING:
    import yaml

MOST_BYTES = 64 * 2**20
"""Largest JSON document in bytes; ImageNet-21k's class names take 1 MB."""
MOST_YAML_BYTES = 2**16
"""Largest YAML document in bytes; recipes take a few kilobytes."""
MOST_DEPTH = 32
"""Deepest nesting of lists and mappings."""


class Unreadable(VitrailError):  # noqa: N818 - the name of a state of a file
    """A document is not valid JSON or YAML, or goes beyond the limits; the message does not name it."""


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        Unreadable: see `parse_json`.
        OSError: the file cannot be opened.
    """
    return parse_json(read_bounded(path, MOST_BYTES))


def read_bounded(path: Path, most: int) -> bytes:
    """Read a file of at most `most` bytes; a larger one is not read into memory."""
    with open(path, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise Unreadable(f"it has more than {most:,} bytes")
    return data


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        Unreadable: invalid, too large or too deep, or an object has a key twice.
    """
    if len(text) > MOST_BYTES:
        raise Unreadable(f"it has more than {MOST_BYTES:,} bytes")
    try:
        value = json.loads(text, object_pairs_hook=_mapping)
    except RecursionError:
        raise Unreadable(_TOO_DEEP) from None
    except VitrailError:
        raise
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, or a number of thousands of digits
        raise Unreadable(f"it is not valid JSON: {_first_line(error)}") from None
    _check_depth(value)
    return value


def parse_yaml(text: str | bytes) -> Any:
    """Parse YAML with plain values only.

    Raises:
        Unreadable: invalid, too large or too deep, a mapping has a key twice, or an alias (*name) is used.
    """
    import yaml  # here, so that commands that read no YAML start faster

    if len(text) > MOST_YAML_BYTES:
        raise Unreadable(f"it has more than {MOST_YAML_BYTES:,} bytes")
    try:
        loader = _yaml_loader()(text)
        node = loader.get_single_node()
        _check_keys(node)
        return None if node is None else loader.construct_document(node)
    except VitrailError:
        raise
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise Unreadable(f"it is not valid YAML: {_first_line(error)}") from None


@cache
def _yaml_loader() -> type["yaml.SafeLoader"]:
    """PyYAML's safe loader with limits, and with numbers as in YAML 1.2.

    YAML 1.1 reads 1e-3 as text, 010 as 8 and 1:30 as 90.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        depth = 0

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            # Aliases let a small file stand for gigabytes; nesting is checked before values are built.
            event: Any = self.peek_event()
            if isinstance(event, yaml.AliasEvent):
                raise Unreadable(f"it uses the YAML alias *{event.anchor}: write the values out")
            self.depth += 1
            if self.depth > MOST_DEPTH + isinstance(event, yaml.ScalarEvent):
                raise Unreadable(_TOO_DEEP)
            node: yaml.Node | None = super().compose_node(parent, index)
            self.depth -= 1
            return node

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in found if tag not in (_INT[0], _FLOAT[0])]
        for first, found in Loader.yaml_implicit_resolvers.items()
    }
    for tag, pattern, first in (_INT, _FLOAT):
        Loader.add_implicit_resolver(tag, pattern, first)
    return Loader


def to_yaml(value: Any) -> str:
    """Write plain values as YAML that `parse_yaml` reads as the same values, mappings in their order."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    Dumper.add_implicit_resolver(*_FLOAT)  # so that the text "1e-3" is quoted, besides the numbers of YAML 1.1
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True)


def short(value: Any) -> str:
    """A `repr` for messages, of at most a line whatever the value is."""
    return _SHORT.repr(value)


_INT = (
    "tag:yaml.org,2002:int",
    re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)$"),
    list("-+0123456789"),
)
_FLOAT = (
    "tag:yaml.org,2002:float",
    re.compile(
        r"""[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+|[0-9][0-9_]*\.[0-9_]*
        |\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$""",
        re.VERBOSE,
    ),
    list("-+.0123456789"),
)
"""Numbers of YAML: tag, pattern, first characters."""


class _Short(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write integers of more than 4,300 digits.
        return super().repr_int(x, level) if abs(x) < 10**60 else "a number of more than 60 digits"


_SHORT = _Short()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 2, 80, 80, 80
_TOO_DEEP = f"its lists and mappings are nested more than {MOST_DEPTH} deep"


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Unreadable(_twice(key for key, _ in pairs))
    return found


def _twice(keys: Iterable[str]) -> str:
    seen: set[str] = set()
    twice = next(key for key in keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return f"it has the key {short(twice)} twice"


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MOST_DEPTH + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise Unreadable(_TOO_DEEP)


def _check_keys(node: Any) -> None:
    """Raise Unreadable if a mapping of a YAML document has a key twice; PyYAML would keep the last."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            raise Unreadable(_twice(keys))
        for _, value in node.value:
            _check_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_keys(value)


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
