"""Labels in tar shards: `.cls`, `.json` and `.txt` beside an image, the names of numbered classes, and captions."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from .samples import MemberAt, normal
from .tar_members import read_whole

_MOST_BYTES = 2**20
"""Largest size of a file with a label; `.json` may have other things in it."""
_LONGEST = 1000
_JSON_CAPTIONS = ("caption", "text", "title", "description")
_JSON_NAMES = ("class_name", "label_name", "classname")


@dataclass(slots=True)
class Key:
    """Files of a shard with one key.

    Attributes:
        image: place of the image.
        image_file: its name in the archive.
        label: label from `.cls`, else from `.json`.
        names: possible names of a label that is a number, by kind: "json" and "txt".
        problem: why the key cannot be used, as a clause.
        captions: possible captions, by kind: "txt" and "json".
        caption_problem: why its `.txt` is no caption, as a clause.
    """

    image: MemberAt | None
    image_file: str
    label: str | None
    names: dict[str, str]
    problem: str
    captions: dict[str, str] = field(default_factory=dict)
    caption_problem: str = ""

    def caption(self) -> str:
        """The caption from `.txt`, else from `.json`, in one line; "" if there is none."""
        return self.captions.get("txt") or self.captions.get("json", "")

    def add(self, kind: str, at: MemberAt) -> None:
        """Read a file with a label: "cls", "json" or "txt"."""
        if at.size > _MOST_BYTES:
            self.problem = self.problem or f"its .{kind} has {at.size:,} bytes, which is no label"
            return
        try:
            data = read_whole(at)
        except OSError as error:
            self.problem = self.problem or f"its .{kind} {error.strerror or error}"
            return
        if kind == "cls":
            self._add_class(data)
        elif kind == "json":
            self._add_json(data)
        else:
            self.names["txt"] = normal(data.decode("utf-8", "replace"))
            try:
                self.captions["txt"] = " ".join(data.decode("utf-8-sig").split())
            except UnicodeDecodeError:
                self.caption_problem = "its .txt is not UTF-8 text"

    def is_empty(self) -> bool:
        """Whether there is neither an image nor a label."""
        return self.image is None and self.label is None and not self.problem

    def _add_class(self, data: bytes) -> None:
        try:
            text = data.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            text = "\0"
        if text and not text.isprintable():
            self.problem = self.problem or "its .cls is not one line of UTF-8 text"
        elif text:
            self._set(normal(text), first=True)

    def _add_json(self, data: bytes) -> None:
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):
            return
        if not isinstance(content, dict):
            return
        label = content.get("label")
        if isinstance(label, str | int) and (text := normal(str(label))):
            self._set(text, first=False)
        caption = next((content[key] for key in _JSON_CAPTIONS if isinstance(content.get(key), str)), "")
        if caption.strip():
            self.captions["json"] = " ".join(caption.split())
        name = next((content[key] for key in _JSON_NAMES if isinstance(content.get(key), str)), None)
        if name:
            self.names["json"] = normal(name)

    def _set(self, text: str, *, first: bool) -> None:
        """Add the label of `.cls` (`first`) or of `.json`; one may be a number and the other its name."""
        if len(text) > _LONGEST:
            self.problem = self.problem or f"its label has {len(text):,} letters, the limit is {_LONGEST:,}"
        elif self.label is None or self.label == text:
            self.label = text
        elif self.label.isdecimal() != text.isdecimal():
            number, name = (self.label, text) if self.label.isdecimal() else (text, self.label)
            self.label, self.names["json"] = number, name
        else:
            cls, other = (text, self.label) if first else (self.label, text)
            self.problem = self.problem or f"label {cls!r} in .cls, but {other!r} in .json"


def new_key() -> Key:
    """Return a key without files."""
    return Key(None, "", None, {}, "")


def name_classes(keys: Iterable[Key]) -> tuple[tuple[str, ...], str]:
    """Replace numbers by their names, if every label is a number and has exactly one name everywhere.

    Texts that differ between images of a class are captions, not names.

    Returns:
        names: in the order of the numbers; empty if there are none.
        kind: the suffix of the files that they are from, "json" or "txt".
    """
    labelled = [key for key in keys if key.label is not None and not key.problem]
    if not all(key.label and key.label.isdecimal() for key in labelled):
        return (), ""
    for kind in ("json", "txt"):
        found = _names(labelled, kind)
        if not found:
            continue
        for key in labelled:
            name = found[int(key.label or 0)]
            if kind in key.names and key.names[kind] != name:
                key.problem = f"label {key.label} is {name!r} elsewhere, and {key.names[kind]!r} here"
            key.label = name
        return tuple(found[number] for number in sorted(found)), kind
    return (), ""


def _names(labelled: list[Key], kind: str) -> dict[int, str]:
    """Name of each number, or nothing. Names in `.json` are those of the majority, in `.txt` of all."""
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for key in labelled:
        if key.names.get(kind):
            counts[int(key.label or 0)][key.names[kind]] += 1
    numbers = {int(key.label or 0) for key in labelled}
    found = {number: texts.most_common(1)[0][0] for number, texts in counts.items()}
    agreeing = sum(texts[found[number]] for number, texts in counts.items())
    total = sum(texts.total() for texts in counts.values())
    is_name = 2 * agreeing > total if kind == "json" else agreeing == total == len(labelled) > len(numbers)
    return found if is_name and numbers == set(found) and len(set(found.values())) == len(found) else {}
