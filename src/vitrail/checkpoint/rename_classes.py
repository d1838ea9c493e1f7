"""Renames the outputs of a checkpoint: its classes, or the numbers of a regression."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ..errors import VitrailError, nearest
from ..progress import to_stderr
from ..task_spec import NAMES, TaskSpec
from .atomic import MANIFEST, Content, DamagedCheckpoint
from .document import Stored
from .native import MODEL, TOKENIZER, WEIGHTS, write_native
from .read import read

DESCRIPTIONS = ("report.html", "README.md", "evaluation.json")
"""Files of a run that have names of classes, and that resuming it writes again with those of its checkpoints."""


def rename_classes(
    source: str | Path, names: Mapping[str, str] | Sequence[str], target: Path | None = None
) -> tuple[str, ...]:
    """Rename classes of a checkpoint, in place or in a copy, and return all names.

    Of a model for several tasks a class of that name is renamed in each of them.

    In place, all checkpoints of a run are renamed: the best one, which every command loads, and the states to resume
    from. Each write is atomic, the best checkpoint's is the last: after an interruption repeat the call. The files of
    the run that describe its results keep the old names until it is resumed, see `DESCRIPTIONS`.

    Args:
        source: what `load` accepts; without `target`, a run, or a checkpoint's folder or file.
        names: old name -> new name, or texts OLD=NEW; names may be swapped.
        target: folder, or .safetensors file, of a copy; by default the checkpoint itself.

    Raises:
        VitrailError: an unknown name, two classes with one name, or no checkpoint of vitrail to change in place.
    """
    stored = read(source, None, {}, to_stderr)
    groups = _groups(stored)
    known = _all(groups)
    pairs = names if isinstance(names, Mapping) else parse_renames(known, names)
    _check(known, pairs)
    groups = {key: renamed(group, pairs) for key, group in groups.items()}
    changed = _with_names(stored, groups)
    if target is not None:
        write_native(changed, target, {})
    else:
        *states, place = _places(Path(source))
        for state in states:
            _rename_state(state, groups)
        write_native(changed, place, _other_files(place))
    return _all(groups)


def _groups(stored: Stored) -> dict[str, tuple[str, ...]]:
    """Names of the outputs, under "", and those that are options of the task, see `TaskSpec`."""
    options = {key: value for key, value in stored.config.task.options if key.endswith(NAMES)}
    return {"": stored.class_names, **options} if stored.class_names else options


def _all(groups: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in groups.values() for name in group))


def _with_names(stored: Stored, groups: Mapping[str, tuple[str, ...]]) -> Stored:
    own = {key: value for key, value in groups.items() if key}
    task = TaskSpec.of(stored.config.task.name, **{**dict(stored.config.task.options), **own})
    return replace(stored, class_names=groups.get("", ()), config=replace(stored.config, task=task))


def _check(known: Sequence[str], names: Mapping[str, str]) -> None:
    """Raise VitrailError for an unknown old name, or an empty new one."""
    if not known:
        raise VitrailError("the checkpoint has no class names: train it on named classes, or convert it with names")
    for old, new in names.items():
        if old not in known:
            raise VitrailError(f"the checkpoint has no class {old!r}: {nearest(old, known)}")
        if not new.strip():
            raise VitrailError(f"the new name of {old!r} is empty: write {old}=NAME")


def renamed(class_names: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the class names with some of them renamed. Raises VitrailError if two would be the same."""
    found = tuple(names.get(name, name) for name in class_names)
    for name in found:
        if found.count(name) > 1:
            raise VitrailError(f"two classes would have the name {name!r}: choose another")
    return found


def parse_renames(class_names: Sequence[str], texts: Sequence[str]) -> dict[str, str]:
    """Parse texts OLD=NEW, in which the names may have an equals sign too.

    Raises:
        VitrailError: no equals sign, or one old name twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        places = [place for place, sign in enumerate(text) if sign == "="]
        if not places:
            raise VitrailError(f"{text!r} renames nothing: write OLD=NEW")
        cut = next((place for place in places if text[:place] in class_names), places[0])
        old, new = text[:cut], text[cut + 1 :]
        if old in pairs:
            raise VitrailError(f"{old!r} is renamed twice, to {pairs[old]!r} and {new!r}: leave out one of them")
        pairs[old] = new
    return pairs


def _places(path: Path) -> list[Path]:
    """Checkpoints of vitrail's to rename for this path: of a run the states to resume from, then the best one."""
    checkpoints = path / "checkpoints"
    if (checkpoints / "best").is_dir():
        return [checkpoints / name for name in ("previous", "last", "best") if (checkpoints / name).is_dir()]
    if (path / MANIFEST).is_file() or path.suffix == ".safetensors":
        return [path]
    raise VitrailError(f"{path} is not a checkpoint of vitrail: write a renamed copy with -o OUT")


def _rename_state(place: Path, groups: Mapping[str, tuple[str, ...]]) -> None:
    """Give a state of a run the names, unless it is damaged, in which case a resumed run passes over it too."""
    with suppress(DamagedCheckpoint):
        stored = read(place, None, {}, to_stderr)
        if _groups(stored) != groups:
            write_native(_with_names(stored, groups), place, _other_files(place))


def _other_files(place: Path) -> dict[str, Content]:
    """Files of a checkpoint folder besides model and weights, such as the state to resume from."""
    if place.is_file():
        return {}
    own = {MODEL, WEIGHTS, MANIFEST, TOKENIZER}
    # What `vitrail optimize` stored is a folder: it is not copied, and is measured again.
    files = (file for file in sorted(place.iterdir()) if file.is_file() and file.name not in own)
    return {file.name: file.read_bytes() for file in files}
