"""Renames the outputs of a checkpoint: its classes, or the numbers of a regression."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ..errors import VitrailError, nearest
from ..progress import to_stderr
from .atomic import MANIFEST, Content, DamagedCheckpoint
from .native import MODEL, TOKENIZER, WEIGHTS, write_native
from .read import read

DESCRIPTIONS = ("report.html", "README.md", "evaluation.json")
"""Files of a run that have names of classes, and that resuming it writes again with those of its checkpoints."""


def rename_classes(
    source: str | Path, names: Mapping[str, str] | Sequence[str], target: Path | None = None
) -> tuple[str, ...]:
    """Rename classes of a checkpoint, in place or in a copy, and return all names.

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
    pairs = names if isinstance(names, Mapping) else parse_renames(stored.class_names, names)
    changed = replace(stored, class_names=renamed(stored.class_names, pairs))
    if target is not None:
        write_native(changed, target, {})
    else:
        *states, place = _places(Path(source))
        for state in states:
            _rename_state(state, changed.class_names)
        write_native(changed, place, _other_files(place))
    return changed.class_names


def renamed(class_names: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the class names with some of them renamed; raises VitrailError as `rename_classes` does."""
    if not class_names:
        raise VitrailError("the checkpoint has no class names: train it on named classes, or convert it with names")
    for old, new in names.items():
        if old not in class_names:
            raise VitrailError(f"the checkpoint has no class {old!r}: {nearest(old, class_names)}")
        if not new.strip():
            raise VitrailError(f"the new name of {old!r} is empty: write {old}=NAME")
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


def _rename_state(place: Path, class_names: tuple[str, ...]) -> None:
    """Give a state of a run the names, unless it is damaged, in which case a resumed run passes over it too."""
    with suppress(DamagedCheckpoint):
        stored = read(place, None, {}, to_stderr)
        if stored.class_names != class_names:
            write_native(replace(stored, class_names=class_names), place, _other_files(place))


def _other_files(place: Path) -> dict[str, Content]:
    """Files of a checkpoint folder besides model and weights, such as the state to resume from."""
    if place.is_file():
        return {}
    own = {MODEL, WEIGHTS, MANIFEST, TOKENIZER}
    # What `vitrail optimize` stored is a folder: it is not copied, and is measured again.
    files = (file for file in sorted(place.iterdir()) if file.is_file() and file.name not in own)
    return {file.name: file.read_bytes() for file in files}
