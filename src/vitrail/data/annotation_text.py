"""Reads files with annotations as text, JSON, XML or YAML: bounded, and with the line of what is wrong."""

import json
import math
import os
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ..plain import MOST_YAML_BYTES, Unreadable, parse_yaml
from .file_bytes import MAX_BYTES, read_file

_MOST_TEXT = 2**24
"""Largest text of annotations in bytes: a million lines of boxes of one image, or of captions."""
_LARGE = 2**53
_XML_ENCODING = re.compile(rb"""<\?xml[^>]*\bencoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_SECONDS = ("utf-8", "ascii", "iso-8859-1", "latin-1", "windows-1252", "cp1252", "gbk", "gb2312", "gb18030", "utf-16")
"""Encodings of XML that are read if the file declares them."""


def read_text(path: str | Path, most: int = _MOST_TEXT) -> str:
    """Read a text in UTF-8, with or without a byte order mark.

    Raises:
        Unreadable: not UTF-8, or larger than `most` bytes; the message does not name the file.
        OSError: the file cannot be read.
    """
    data = _bounded(path, most)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"line {_line(data, error.start)} is not UTF-8 text") from None


def read_large_json(path: Path) -> Any:
    """Read a JSON file of annotations of a whole set, which may be large; a key that is there twice has its last value.

    Raises:
        Unreadable: not JSON, with the line; the message does not name the file.
        OSError: the file cannot be read.
    """
    data = _bounded(path, MAX_BYTES)
    try:
        return json.loads(data)
    except RecursionError:
        raise Unreadable("its lists and mappings are nested too deep") from None
    except UnicodeDecodeError as error:
        raise Unreadable(f"line {_line(data, error.start)} is not UTF-8 text") from None
    except ValueError as error:  # JSONDecodeError has the line; or a number of thousands of digits
        raise Unreadable(f"it is not valid JSON: {error}") from None


def read_yaml(path: Path) -> Any:
    """Read a YAML file of plain values, see `plain.parse_yaml`.

    Raises:
        Unreadable: not YAML, with the line; the message does not name the file.
        OSError: the file cannot be read.
    """
    return parse_yaml(read_text(path, MOST_YAML_BYTES))


def read_xml(path: str) -> ElementTree.Element:
    """Read a small XML file without a document type, whose entities can stand for gigabytes.

    Raises:
        Unreadable: not XML, with the line; the message does not name the file.
        OSError: the file cannot be read.
    """
    text = _xml_text(_bounded(path, _MOST_TEXT))
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise Unreadable("it has a document type (<!DOCTYPE), which is refused: remove it")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise Unreadable(f"it is not valid XML: {error}") from None
    except ValueError as error:
        raise Unreadable(f"it is not valid XML: {' '.join(str(error).split())[:200]}") from None


def _xml_text(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    else:
        declared = _XML_ENCODING.match(data.removeprefix(b"\xef\xbb\xbf"))
        encoding = declared[1].decode().lower() if declared else "utf-8"
        encoding = encoding if encoding in _SECONDS and encoding != "utf-16" else "utf-8"
    try:
        return data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        raise Unreadable(f"line {_line(data, error.start)} is not {encoding.upper()} text") from None


def finite(value: Any) -> float | None:
    """A number of a JSON file, or the text of one, as a finite float; None if it is not one."""
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is int and abs(value) < _LARGE:
        return float(value)
    if kind is bool or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) and not (isinstance(value, str) and "_" in value) else None


def _bounded(path: str | Path, most: int) -> bytes:
    size = os.path.getsize(path)
    if size > most:
        raise Unreadable(f"it has {size:,} bytes, the limit is {most:,}")
    return read_file(path)


def _line(data: bytes, place: int) -> int:
    return data.count(b"\n", 0, place) + 1
