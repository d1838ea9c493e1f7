"""Plugins: parts of other packages, found by entry points when a name is not built in, and for lists."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .errors import VitrailError

GROUPS = {
    "family": "vitrail.families",
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


def _entries(kind: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUPS[kind])}
