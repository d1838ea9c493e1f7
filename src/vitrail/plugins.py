"""Parts from other packages: entry points, looked at only when a name is not one of ours, and for lists."""

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
"""What can be added, and the group of entry points that adds it."""


def plugin_names(kind: str) -> list[str]:
    """The names that installed packages add of a kind, sorted; metadata only, nothing is imported."""
    return sorted(_entries(kind))


def find_plugin(kind: str, name: str) -> Any | None:
    """The object that an installed package adds under a name, imported now; None where none does.

    Raises:
        VitrailError: the package's module fails to import; the message names the package and the reason.
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
