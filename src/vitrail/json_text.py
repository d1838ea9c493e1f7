"""JSON as text that any UTF-8 file can take."""

import json
import re
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")


def json_text(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON, with letters as they are.

    Python reads the names of files that are not UTF-8 with surrogates, which UTF-8 cannot have; they become escapes, so
    that reading the JSON gives the same names again.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
