"""Sources in tar shards (the layout of WebDataset): `key.jpg` beside `key.cls`, plain or compressed."""

import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import VitrailError
from ..task_spec import CLASSIFICATION, VIDEO, TaskSpec
from .annotated import IMAGE_TEXT, task_note
from .folder_source import is_image, is_system_path
from .samples import SPLIT_WORDS, BadFile, MemberAt, Sample, Source, Split, natural, normal, order_classes
from .shard_labels import Key, name_classes, new_key
from .tar_members import DamagedArchiveError, members
from .unpack import unpacked
from .video_file import is_video

SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


@dataclass(slots=True)
class _Shard:
    name: str
    split: Split | None = None
    keys: dict[str, Key] = field(default_factory=lambda: defaultdict(new_key))
    bad: list[BadFile] = field(default_factory=list)


def is_shard(name: str) -> bool:
    """Whether a file of this name is a tar shard."""
    return not os.path.basename(name).startswith(".") and name.lower().endswith(SHARD_SUFFIXES)


def shards_in(folder: Path) -> list[Path]:
    """The shards of a folder and of its split folders (train, val, test), in natural order."""
    folders = [
        folder,
        *(path for path in folder.iterdir() if path.name.lower() in SPLIT_WORDS and path.is_dir()),
    ]
    hits = (path for folder in folders for path in folder.iterdir() if is_shard(path.name) and path.is_file())
    return sorted(hits, key=lambda path: natural(str(path)))


def tar_shard(path: Path, labelled: bool = True, task: TaskSpec | None = None) -> Source:
    """Open one shard, see `tar_shards`."""
    return tar_shards(str(path), [path], labelled=labelled, task=task)


def tar_shards(name: str, paths: list[Path], *, labelled: bool = True, task: TaskSpec | None = None) -> Source:
    """Open shards of `key.jpg` (or another suffix of images or videos) with `key.cls`, or `key.json` with a "label".

    A label is a class name or a number. Numbers are named by the lines of a `classes.txt` beside the shards, or by a
    `.json` or `.txt` beside each `.cls`, if these agree; otherwise they are names themselves. A shard belongs to a
    split if its file name or its folder has one of the words train, val, test, and all other shards have one too.
    Members are read by their offset; compressed shards are first unpacked into the cache folder (`cache_folder()`),
    once. Without any label, `key.txt`, or a "caption" in `key.json`, are captions; for the task image-text they always
    are. Of a damaged shard, what comes before the damage is used, and the shard is listed as bad.

    Raises:
        VitrailError: no usable image, or a compressed shard cannot be unpacked for lack of space.
    """
    shards = [_read_shard(path) for path in paths]
    splits = [_split_word(path) for path in paths]
    if all(splits):
        for shard, split in zip(shards, splits, strict=True):
            shard.split = split
    if labelled and _has_captions(shards, task):
        return _captioned(name, shards, task)
    clips = _are_clips(shards, task)
    listed = _listed_classes(paths[0].parent) if labelled else None
    notes: tuple[str, ...] = ()
    if labelled and listed is None:
        names, kind = name_classes(key for shard in shards for key in shard.keys.values())
        if names:
            listed, notes = names, (f"the numbers in .cls are named by .{kind}: {', '.join(names[:5])}",)
    found, bad = _sorted_out(shards, listed, labelled, clips)
    if not found:
        why = f" ({bad[0].name}: {bad[0].reason})" if bad else ""
        raise VitrailError(f"no {'labelled ' * labelled}images in {name}{why}: a shard has key.jpg and key.cls")
    class_names = listed or order_classes((label for _, label, _, _ in found), name) if labelled else ()
    index = {name: (i,) for i, name in enumerate(class_names)}
    samples = tuple(Sample(where, index.get(label, ()), split, at, clip=clips) for where, label, split, at in found)
    if clips:
        notes = (task_note(task, VIDEO, "clips in shards"), *notes)
    return Source(name, class_names, samples, VIDEO if clips else CLASSIFICATION, tuple(bad), notes=notes)


def _are_clips(shards: list[_Shard], task: TaskSpec | None) -> bool:
    """Whether the shards are read as clips: for the task video, or if there are videos and no image."""
    if task is not None:
        return task.name == VIDEO.name
    files = [entry.image_file for shard in shards for entry in shard.keys.values() if entry.image_file]
    return bool(files) and all(map(is_video, files))


def _has_captions(shards: list[_Shard], task: TaskSpec | None) -> bool:
    """Whether the shards are read as images with captions."""
    if task is not None:
        return task.name == IMAGE_TEXT.name
    entries = [entry for shard in shards for entry in shard.keys.values()]
    return not any(entry.label for entry in entries) and any(entry.captions for entry in entries)


def _captioned(name: str, shards: list[_Shard], task: TaskSpec | None) -> Source:
    bad = [bad for shard in shards for bad in shard.bad]
    samples = []
    for shard in shards:
        for key, entry in shard.keys.items():
            where, caption = f"{shard.name}/{key}", entry.caption()
            empty = "an empty caption" if entry.captions else "no caption: it has no .txt"
            problem = entry.caption_problem or ("" if caption else empty)
            if entry.image is None or problem:
                bad.append(BadFile(where, entry.problem or problem or "a caption without an image"))
            else:
                samples.append(Sample(where, (caption,), shard.split, entry.image))
    if not samples:
        why = f" ({bad[0].name}: {bad[0].reason})" if bad else ""
        raise VitrailError(f"no images with captions in {name}{why}: a shard has key.jpg and key.txt")
    notes = (task_note(task, IMAGE_TEXT, "captions from the .txt or .json of each image"),)
    return Source(name, (), tuple(samples), IMAGE_TEXT, tuple(bad), "texts", notes)


def _sorted_out(
    shards: list[_Shard], listed: tuple[str, ...] | None, labelled: bool, clips: bool
) -> tuple[list[tuple[str, str, Split | None, MemberAt]], list[BadFile]]:
    """(name, label, split, place) of the images or clips, and what cannot be used."""
    bad = [bad for shard in shards for bad in shard.bad]
    found: list[tuple[str, str, Split | None, MemberAt]] = []
    for shard in shards:
        for key, entry in shard.keys.items():
            where = f"{shard.name}/{key}"
            outcome = _outcome(entry, listed, labelled, clips)
            if isinstance(outcome, str):
                bad.append(BadFile(where, outcome))
            else:
                found.append((where, outcome[0], shard.split, outcome[1]))
    return found, bad


def _outcome(entry: Key, listed: tuple[str, ...] | None, labelled: bool, clips: bool) -> tuple[str, MemberAt] | str:
    """(label, place of the image or clip), or the reason why the key is bad."""
    label = _class_of(entry.label, listed) if labelled else ""
    if labelled and entry.problem:
        return entry.problem
    if entry.image is None:
        return entry.problem or "a label without an image"
    if not clips and is_video(entry.image_file):
        return f"{os.path.basename(entry.image_file)} is a video: --task video takes videos"
    if label is None:
        return "no label" if entry.label is None else f"label {entry.label!r} is not in classes.txt"
    return label, entry.image


def _read_shard(path: Path) -> _Shard:
    shard = _Shard(path.name)
    try:
        for name, at in members(unpacked(path)):
            _add(shard, name, at)
    except DamagedArchiveError as damage:
        shard.bad.append(BadFile(path.name, f"damaged archive after {len(shard.keys)} keys ({damage})"))
    except OSError as error:
        shard.bad.append(BadFile(path.name, f"cannot be read ({error.strerror or error})"))
    for key in [key for key, entry in shard.keys.items() if entry.is_empty()]:
        del shard.keys[key]  # a readme, an index of the shard
    return shard


def _add(shard: _Shard, name: str, at: MemberAt | None) -> None:
    folder, base = os.path.split(name)
    stem, dot, extension = base.partition(".")
    kind = extension.lower()
    is_picture = (is_image(f"x.{extension}") or is_video(f"x.{extension}")) and "." not in extension
    if not stem or not dot or is_system_path(name) or not (is_picture or kind in ("cls", "json", "txt")):
        return
    key = normal(os.path.join(folder, stem))
    entry = shard.keys[key]
    if at is None:
        entry.problem = f"{base} is a link to something that is not in the archive"
    elif is_picture:
        if entry.image is None or entry.image_file == base:  # a second file of the same name replaces the first
            entry.image, entry.image_file = at, base
    else:
        entry.add(kind, at)


def _class_of(label: str | None, listed: tuple[str, ...] | None) -> str | None:
    if label is None or listed is None or label in listed:
        return label
    return listed[int(label)] if label.isdecimal() and int(label) < len(listed) else None


def _listed_classes(folder: Path) -> tuple[str, ...] | None:
    path = folder / "classes.txt"
    if not path.is_file():
        return None
    names = tuple(normal(line) for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    order_classes(names, str(path))  # checks the spelling; the order is that of the file
    if len(set(names)) < len(names):
        raise VitrailError(f"{path} lists a class twice: one line for each")
    return names


def _split_word(path: Path) -> Split | None:
    words = [*re.split(r"[^a-z]+", path.name.lower()), path.parent.name.lower()]
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), None)
