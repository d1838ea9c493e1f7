"""Sources in folders: class folders, with or without a split, and images without labels."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import VitrailError
from .samples import SPLIT_WORDS, BadFile, FileAt, Sample, Source, Split, natural, normal, order_classes

IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for line in (
        "jpg jpeg jpe jfif png apng webp gif avif heic heif",
        "bmp dib tif tiff ppm pgm pbm pnm pfm jp2 j2k ico tga pcx sgi npy",
    )
    for suffix in line.split()
)
"""Suffixes of files that count as images, in lower case. Their content decides the format."""


def is_image(name: str) -> bool:
    """Whether a file of this name counts as an image; hidden files and macOS's `._` twins do not."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def class_folders(root: Path) -> Source:
    """Open class folders: `root/class/**/image`, or `root/{train,val,test}/class/**/image`.

    The sub-folders are splits if all that have images are named as splits (see `SPLIT_WORDS`), and `train`, if there
    is one, has folders. Only this one level may be splits. Images beside the class folders have no class and are
    listed as bad; other files that are not images (README, .DS_Store) are ignored.
    """
    folders = [name for name in _subfolders(root) if next(_images(root / name), None)]
    if not folders:
        raise VitrailError(_no_classes(root))
    splits = _split_folders(root, folders)
    found: list[tuple[str, str, Split | None]] = []
    bad = _beside(root, "")
    for part, split in splits.items() or [("", None)]:
        bad += _beside(root / part, part) if part else []
        for folder in _subfolders(root / part):
            label, prefix = normal(folder), os.path.join(part, folder, "")
            found += [(prefix + path, label, split) for path in _images(root / part / folder)]
    if not found:
        where = ", ".join(str(root / part) for part in splits)
        raise VitrailError(f"no class folders in {where}: {_WANTED}")
    class_names = order_classes({label for _, label, _ in found}, str(root))
    index = {name: (i,) for i, name in enumerate(class_names)}
    base = os.path.join(root, "")
    samples = tuple(Sample(path, index[label], split, FileAt(base + path)) for path, label, split in found)
    return Source(str(root), class_names, samples, bad=tuple(bad))


def image_files(spec: str) -> Source:
    """Open images without labels: one file, all images under a folder, or the matches of a glob."""
    if os.path.isdir(spec):
        names = [os.path.join(spec, path) for path in _images(Path(spec))]
        if not names:
            raise VitrailError(f"no images in {spec}{_what_else(Path(spec))}")
    elif os.path.exists(spec):
        names = [spec]
    else:
        hits = sorted(glob.glob(spec, recursive=True), key=natural)
        names = [name for name in hits if os.path.isfile(name) and is_image(os.path.basename(name))]
        if not names:
            raise VitrailError(f"no image matches {spec}: quote the pattern, and use ** for folders of any depth")
    return Source(spec, (), tuple(Sample(name, (), None, FileAt(name)) for name in names))


_WANTED = "give each class a folder of its own (root/class/image.jpg, or root/train/class/image.jpg)"


def _split_folders(root: Path, folders: list[str]) -> dict[str, Split]:
    """Map folders to splits; empty if the folders are classes."""
    splits = {name: SPLIT_WORDS[name.lower()] for name in folders if name.lower() in SPLIT_WORDS}
    trains = [name for name, split in splits.items() if split == "train"]
    if not splits or any(not _subfolders(root / name) for name in trains or splits):
        return {}  # "train" can be a class, among buses and ships
    others = [name for name in folders if name not in splits]
    if others and trains:
        raise VitrailError(
            f"{root} has the split {trains[0]} and also {others[0]} with images: move it away, or "
            "into the split it belongs to"
        )
    return {} if others else splits


def _beside(folder: Path, prefix: str) -> list[BadFile]:
    names = sorted((e.name for e in _scan(folder) if is_image(e.name) and not e.is_dir()), key=natural)
    return [BadFile(os.path.join(prefix, name), "no label: it is in no class folder") for name in names]


def _no_classes(root: Path) -> str:
    flat = sum(is_image(entry.name) for entry in _scan(root))
    if flat:
        return f"{root} holds {flat} images but no class folders: {_WANTED}, or name a CSV"
    if not any(True for _ in _scan(root)):
        return f"{root} is empty: {_WANTED}"
    return f"no images in {root}{_what_else(root)}: {_WANTED}"


def _what_else(root: Path) -> str:
    others = [os.path.join(walk, name) for walk, _, names in os.walk(root) for name in names if name[0] != "."]
    return f" (it holds {len(others)} other files, such as {others[0]})" if others else ""


def _subfolders(folder: Path) -> list[str]:
    return sorted((e.name for e in _scan(folder) if e.is_dir() and not _hidden(e.name)), key=natural)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _images(folder: Path) -> Iterator[str]:
    """Paths of images at any depth, relative to `folder`, in a stable order.

    Links to folders are followed, but not in circles. A broken link counts as an image, so that it is reported.
    """
    pending, seen = [""], set()
    while pending:
        here = pending.pop()
        facts = os.stat(folder / here)
        if (facts.st_dev, facts.st_ino) in seen:
            continue
        seen.add((facts.st_dev, facts.st_ino))
        prefix = os.path.join(here, "") if here else ""
        below = []
        for entry in sorted(_scan(folder / here), key=lambda entry: entry.name):
            if entry.is_dir():
                below += [] if _hidden(entry.name) else [prefix + entry.name]
            elif is_image(entry.name) and (entry.is_file() or entry.is_symlink()):
                yield prefix + entry.name
        pending += reversed(below)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except PermissionError as error:
        raise VitrailError(f"the folder {folder} may not be read: allow it with chmod") from error
