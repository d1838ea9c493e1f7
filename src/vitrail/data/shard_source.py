"""Sources in tar shards (the layout of WebDataset): `key.jpg` beside `key.cls`, plain or gzipped."""

import gzip
import hashlib
import json
import os
import re
import tarfile
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import VitrailError
from .folder_source import is_image
from .samples import SPLIT_WORDS, BadFile, MemberAt, Sample, Source, Split, natural, normal, order_classes
from .user_folders import cache_folder

SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz")


@dataclass(slots=True)
class _Key:
    """Content of a shard under one key."""

    image: MemberAt | None = None
    label: str | None = None


@dataclass(slots=True)
class _Shard:
    name: str
    split: Split | None = None
    keys: dict[str, _Key] = field(default_factory=dict)
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
    hits = (path for folder in folders for path in folder.iterdir() if is_shard(path.name))
    return sorted(hits, key=lambda path: natural(str(path)))


def tar_shards(name: str, paths: list[Path], *, labelled: bool = True) -> Source:
    """Open shards of `key.jpg` (or another image suffix) with `key.cls`, or `key.json` with a "label".

    A label is a class name or a number. Numbers index the lines of a `classes.txt` beside the shards, if there is one,
    and are names otherwise. A shard belongs to a split if its file name or its folder has one of the words train, val,
    test, and all other shards have one too. Members are read by their offset; gzipped shards are first unpacked into
    the cache folder (`cache_folder()`), once.
    """
    shards = [_read_shard(path) for path in paths]
    splits = [_split_word(path) for path in paths]
    if all(splits):
        for shard, split in zip(shards, splits, strict=True):
            shard.split = split
    bad = [bad for shard in shards for bad in shard.bad]
    listed = _listed_classes(paths[0].parent) if labelled else None
    found: list[tuple[str, str, Split | None, MemberAt]] = []
    for shard in shards:
        for key, entry in shard.keys.items():
            where = f"{shard.name}/{key}"
            label = _class_of(entry.label, listed) if labelled else ""
            if entry.image is None:
                bad.append(BadFile(where, "a label without an image"))
            elif label is None:
                reason = "no label" if entry.label is None else f"label {entry.label!r} is not in classes.txt"
                bad.append(BadFile(where, reason))
            else:
                found.append((where, label, shard.split, entry.image))
    if not found:
        why = f" ({bad[0].name}: {bad[0].reason})" if bad else ""
        raise VitrailError(f"no {'labelled ' * labelled}images in {name}{why}: a shard holds key.jpg and key.cls")
    class_names = listed or order_classes((label for _, label, _, _ in found), name) if labelled else ()
    index = {name: (i,) for i, name in enumerate(class_names)}
    samples = tuple(Sample(where, index.get(label, ()), split, at) for where, label, split, at in found)
    return Source(name, class_names, samples, bad=tuple(bad))


def _read_shard(path: Path) -> _Shard:
    shard = _Shard(path.name)
    try:
        plain = _unpacked(path)
        with tarfile.open(plain, "r:") as archive:
            for member in archive:
                if member.isreg():
                    _add(shard, member, str(plain))
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, OSError) as error:
        shard.bad.append(BadFile(path.name, f"damaged archive after {len(shard.keys)} keys ({error})"))
    return shard


def _add(shard: _Shard, member: tarfile.TarInfo, path: str) -> None:
    folder, base = os.path.split(member.name.removeprefix("./"))
    stem, dot, extension = base.partition(".")
    if not stem or not dot:
        return
    at = MemberAt(path, member.offset_data, member.size)
    key = normal(os.path.join(folder, stem))
    entry = shard.keys.get(key, _Key())
    if is_image(f"x.{extension}") and "." not in extension and entry.image is None:
        entry.image = at
    elif extension.lower() == "cls":
        entry.label = normal(at.read().decode("utf-8", "replace")) or None
    elif extension.lower() == "json" and entry.label is None:
        entry.label = _json_label(at.read())
    else:
        return
    shard.keys[key] = entry


def _json_label(data: bytes) -> str | None:
    try:
        content = json.loads(data)
    except ValueError:
        return None
    label = content.get("label") if isinstance(content, dict) else None
    return normal(str(label)) if isinstance(label, str | int) else None


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


def _unpacked(path: Path) -> Path:
    """Path of the shard, or of its unpacked copy in the cache folder, since gzip has no random access."""
    with open(path, "rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return path
    facts = path.stat()
    place = hashlib.blake2b(str(path.resolve()).encode(), digest_size=12).hexdigest()
    folder = cache_folder() / "shards"
    target = folder / f"{place}-{facts.st_size}-{facts.st_mtime_ns}.tar"
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{place}-*"):
        old.unlink(missing_ok=True)
    handle, part = tempfile.mkstemp(dir=folder, suffix=".part")
    try:
        with gzip.open(path, "rb") as packed, open(handle, "wb") as unpacked:
            while block := packed.read(1 << 20):
                unpacked.write(block)
        os.replace(part, target)
    finally:
        Path(part).unlink(missing_ok=True)
    return target
