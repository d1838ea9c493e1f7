"""Origin of a checkpoint's weights: stored as data, put into words here.

`info["origin"]` names the weights that it was made from, a hub id or the name of a file or run, and is empty for random
weights; `info["trained_on"]` names the data that it was trained on here, and is empty for converted weights.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

_FORMER = re.compile(r"(?:trained from fresh weights|fine-tuned from (?P<weights>.+)) on (?P<data>.+)")
"""The sentence that earlier versions stored as the origin."""
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def is_hub_id(source: str) -> bool:
    """Whether a source looks like OWNER/NAME; a path may look so too."""
    return _HUB_ID.fullmatch(source) is not None


def origin_words(info: Mapping[str, Any]) -> str:
    """Return the origin in words: "fine-tuned from timm/x on flowers", or "converted from timm/x"; "" if unknown."""
    weights, data = stored_origin(info)
    if not data:
        return f"converted from {weights}" if weights else ""
    return f"{f'fine-tuned from {weights}' if weights else 'trained from random weights'} on {data}"


def stored_origin(info: Mapping[str, Any]) -> tuple[str, str]:
    """Return (weights, data) of a checkpoint, also of one of an earlier version."""
    weights, data = str(info.get("origin") or ""), str(info.get("trained_on") or "")
    former = None if data else _FORMER.fullmatch(weights)
    if former is None:
        return weights, data
    return public_name(former["weights"] or ""), public_name(former["data"])  # they were stored with their folders


def public_name(name: str) -> str:
    """Name of a source or of weights without the folders of this machine: "/home/ada/flowers" -> "flowers".

    Hub ids, named data sets and relative patterns stay as they are.
    """
    if not name:
        return ""
    if PureWindowsPath(name).drive and not os.path.exists(name):
        return PureWindowsPath(name).name  # stored on another machine
    local = os.path.isabs(name) or name.startswith(("~", ".")) or os.path.exists(name)
    return (Path(name).name.strip(".") or Path(name).resolve().name) if local else name


def public_origin(stored: str) -> str:
    """The origin that a checkpoint has stored, without folders, which earlier versions stored too.

    Hub ids stay as they are; the file or folder of a relative path may no longer exist here.
    """
    if is_hub_id(stored) or _FORMER.fullmatch(stored):
        return stored
    return public_name(stored).rstrip("/").rpartition("/")[2]
