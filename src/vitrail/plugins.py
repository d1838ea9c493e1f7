"""Plugins: parts of other packages, found by entry points when a name is not built in, and for lists."""

import os
import sys
from typing import TYPE_CHECKING, Any

from .errors import VitrailError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUPS = {
    "family": "vitrail.families",
    "layout": "vitrail.layouts",
    "task": "vitrail.tasks",
    "objective": "vitrail.objectives",
    "engine": "vitrail.engines",
    "method": "vitrail.methods",
    "source": "vitrail.sources",
    "command": "vitrail.commands",
}
"""Kind of plugin -> group of entry points."""


def plugin_names(kind: str) -> list[str]:
    """Sorted names of the installed plugins of a kind, from metadata; nothing is imported."""
    return sorted(_entries(kind))


def find_plugin(kind: str, name: str) -> Any | None:
    """Import the plugin of a name; None if there is none.

    Raises:
        VitrailError: its module fails to import; the message names the package and the reason.
    """
    entry = _entries(kind).get(name)
    if entry is None:
        return None
    try:
        return entry.load()
    except Exception as error:
        package = entry.dist.name if entry.dist else "another package"
        raise VitrailError(f"{kind} {name!r} of {package} ({entry.value}) cannot be imported: {error}") from error


def _entries(kind: str) -> "dict[str, EntryPoint]":
    if not _announced(GROUPS[kind]):
        return {}
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=GROUPS[kind])}


def _announced(group: str) -> bool:
    """Whether the metadata of an installed package may have entry points of a group.

    Most machines have none. Importing importlib.metadata to learn that would take longer than the rest of
    `vitrail --help`, so the files are read directly; eggs and archives, for which this is impossible, count as plugins.
    """
    for folder in sys.path:
        if folder.endswith(".egg") or os.path.isfile(folder):
            return True
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        packages = (name for name in names if name.endswith((".dist-info", ".egg-info")))
        if any(_mentions(os.path.join(folder, name, "entry_points.txt"), group) for name in packages):
            return True
    return False


def _mentions(path: str, group: str) -> bool:
    try:
        with open(path, "rb") as file:
            return group.encode() in file.read()
    except OSError:
        return False
