"""Sources in folders: class folders, with or without a split, and images without labels."""

import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from ..errors import VitrailError
from .ignored_files import IgnoredFiles
from .map_names import are_images_and_maps, is_map_folder, maps_beside, plain_stem
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

_TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl")

_SYSTEM_FOLDERS = frozenset(
    ("__macosx", "@eadir", "@tmp", "#recycle", "#snapshot", "$recycle.bin", "system volume information", "lost+found")
)
"""Folders of operating systems and storage devices, such as thumbnails and deleted files, in lower case."""


def is_image(name: str) -> bool:
    """Whether a file of this name counts as an image; hidden files and macOS's `._` twins do not."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def class_folders(root: Path) -> Source:
    """Open class folders: `root/class/**/image`, or `root/{train,val,test}/class/**/image`.

    The sub-folders are splits if all that have images are named as splits (see `SPLIT_WORDS`), and `train`, if there
    is one, has folders. Only this one level may be splits. Images beside the class folders have no class and are
    listed as bad; other files that are not images (README, .DS_Store) are ignored.
    """
    folders = [name for name in subfolders(root) if next(_images(root / name), None)]
    if not folders:
        raise VitrailError(_no_classes(root))
    _check_classes(root, folders)
    splits = split_folders(root, folders)
    found: list[tuple[str, str, Split | None]] = []
    bad, ignored = _beside(root, ""), IgnoredFiles()
    for part, split in splits.items() or [("", None)]:
        bad += _beside(root / part, part) if part else []
        for folder in subfolders(root / part):
            label, prefix = normal(folder), os.path.join(part, folder, "")
            all_images, others = _sorted_out(root / part / folder)
            images, maps, doubtful = _without_maps(all_images)
            found += [(prefix + path, label, split) for path in images]
            ignored.add(os.path.join(part, folder), others, maps, is_empty=not images)
            ignored.doubtful += [os.path.join(part, folder, path) for path in doubtful]
    if not found:
        where = ", ".join(str(root / part) for part in splits)
        raise VitrailError(f"no class folders in {where}: {_WANTED}")
    class_names = order_classes({label for _, label, _ in found}, str(root))
    index = {name: (i,) for i, name in enumerate(class_names)}
    base = os.path.join(root, "")
    samples = tuple(Sample(path, index[label], split, FileAt(base + path)) for path, label, split in found)
    notes = [*ignored.notes(), *(f"the folders are the classes: to use {name}, name it" for name in _tables(root)[:1])]
    return Source(str(root), class_names, samples, bad=tuple(bad), notes=tuple(notes))


def image_files(spec: str, hits: Sequence[str] = ()) -> Source:
    """Open images without labels: one file, all images under a folder, or the matches of a pattern.

    Args:
        spec: the file, folder or pattern.
        hits: the paths that match the pattern.
    """
    if os.path.isdir(spec):
        names = [os.path.join(spec, path) for path in _images(Path(spec))]
        if not names:
            raise VitrailError(f"no images in {spec}{_what_else(Path(spec))}")
    elif os.path.exists(spec):
        names = [spec]
    else:
        names = [name for name in hits if _is_visible_image(name)]
        if not names:
            raise VitrailError(f"no image matches {spec}: quote the pattern, and use ** for folders of any depth")
    return Source(spec, (), tuple(Sample(name, (), None, FileAt(name)) for name in names))


def has_images(root: Path, *, below_only: bool) -> bool:
    """Whether there is an image in a folder, at any depth, or with `below_only` in its sub-folders."""
    folders = [root / name for name in subfolders(root)] if below_only else [root]
    return any(next(_images(folder), None) for folder in folders)


def is_system_path(path: str) -> bool:
    """Whether a path leads through a folder of an operating system or a storage device."""
    return any(part.lower() in _SYSTEM_FOLDERS for part in path.replace("\\", "/").split("/"))


_WANTED = "give each class a folder of its own (root/class/image.jpg, or root/train/class/image.jpg)"


def split_folders(root: Path, folders: list[str]) -> dict[str, Split]:
    """Map folders in `root` to splits; empty if the folders are classes."""
    splits = {name: SPLIT_WORDS[name.lower()] for name in folders if name.lower() in SPLIT_WORDS}
    trains = [name for name, split in splits.items() if split == "train"]
    if trains and len(splits) == len(folders) > 1 and not any(subfolders(root / name) for name in folders):
        raise VitrailError(
            f"{root} has images in {', '.join(folders)}, which are names of splits, but no class folders in them: "
            f"{_WANTED}, or add annotations, such as a COCO JSON"
        )
    if not splits or any(not subfolders(root / name) for name in trains or splits):
        return {}  # "train" can be a class, among buses and ships
    others = [name for name in folders if name not in splits]
    if others and trains:
        raise VitrailError(
            f"{root} has the split {trains[0]} and also {others[0]} with images: move it away, or "
            "into the split it belongs to"
        )
    return {} if others else splits


def _beside(folder: Path, prefix: str) -> list[BadFile]:
    names = sorted((e.name for e in _scan(folder) if is_image(e.name) and not _is_folder(e)), key=natural)
    return [BadFile(os.path.join(prefix, name), "no label: it is in no class folder") for name in names]


def _no_classes(root: Path) -> str:
    flat = sum(is_image(entry.name) for entry in _scan(root))
    if flat:
        return (
            f"{root} holds {flat} images but no class folders: {_WANTED}, or name {next(iter(_tables(root)), 'a CSV')}"
        )
    if not any(True for _ in _scan(root)):
        return f"{root} is empty: {_WANTED}"
    return f"no images in {root}{_what_else(root)}: {_WANTED}"


def _tables(root: Path) -> list[str]:
    """Paths of the tables in a folder."""
    names = (entry.name for entry in _scan(root) if entry.name.lower().endswith(_TABLE_SUFFIXES))
    return sorted(str(root / name) for name in names if not _hidden(name))


def _what_else(root: Path) -> str:
    others = [os.path.join(walk, name) for walk, _, names in os.walk(root) for name in names if name[0] != "."]
    return f" (it holds {len(others)} other files, such as {others[0]})" if others else ""


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, in natural order, without hidden ones and those of systems."""
    return sorted((e.name for e in _scan(folder) if _is_folder(e) and not _hidden(e.name)), key=natural)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def _is_visible_image(path: str) -> bool:
    return is_image(os.path.basename(path)) and not is_system_path(path) and not os.path.isdir(path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a link to itself, or to a place without access, is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _sorted_out(folder: Path) -> tuple[list[str], list[str]]:
    """Paths of the images and of the other files at any depth, relative to `folder`."""
    images: list[str] = []
    others: list[str] = []
    for path in files_below(folder):
        (images if is_image(os.path.basename(path)) else others).append(path)
    return images, others


def _check_classes(root: Path, folders: Sequence[str]) -> None:
    """Raise VitrailError for folders of images and of maps with the same names, which would become two classes."""
    if not are_images_and_maps(folders):
        return
    stems: dict[bool, set[str]] = {True: set(), False: set()}
    for folder in folders:
        stems[is_map_folder(folder)] |= {plain_stem(os.path.basename(path)) for path in _images(root / folder)}
    if stems[True] & stems[False]:
        raise VitrailError(
            f"{root} has images and maps of them in {', '.join(folders)}, no class folders: --task segmentation or "
            f"--task depth learns from maps; for a classifier, {_WANTED}"
        )


def _without_maps(images: list[str]) -> tuple[list[str], list[str], list[str]]:
    """The images, the maps of most others in the same folder, and images named as maps of fewer of them."""
    maps: dict[str, None] = {}
    doubtful: list[str] = []
    for folder, paths in groupby(images, key=os.path.dirname):
        names = [os.path.basename(path) for path in paths]
        found = maps_beside(names)
        if 2 * len({*found.values()}) >= len(names) - len(found):
            maps |= dict.fromkeys(os.path.join(folder, name) for name in found)
        else:
            doubtful += [os.path.join(folder, name) for name in found]
    return [path for path in images if path not in maps], [*maps], doubtful


def _images(folder: Path) -> Iterator[str]:
    """Paths of images at any depth, relative to `folder`, in a stable order."""
    return (path for path in files_below(folder) if is_image(os.path.basename(path)))


def files_below(folder: Path) -> Iterator[str]:
    """Iterate over the paths of files at any depth, relative to `folder`, in a stable order; see `folders_below`."""
    for here, names in folders_below(folder):
        prefix = os.path.join(here, "") if here else ""
        yield from (prefix + name for name in names)


def folders_below(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Iterate over the folders at any depth, `folder` first: path relative to it, and names of the files.

    Links to folders are followed, but not in circles. Broken links, and what is neither file nor folder, count as
    files, so that they are reported.
    """
    pending, seen = [""], set()
    while pending:
        here = pending.pop()
        facts = os.stat(folder / here)
        if (facts.st_dev, facts.st_ino) in seen:
            continue
        seen.add((facts.st_dev, facts.st_ino))
        prefix = os.path.join(here, "") if here else ""
        names, below = [], []
        for entry in sorted(_scan(folder / here), key=lambda entry: entry.name):
            if not _is_folder(entry):
                names.append(entry.name)
            elif not _hidden(entry.name):
                below.append(prefix + entry.name)
        yield here, names
        pending += reversed(below)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except PermissionError as error:
        raise VitrailError(f"the folder {folder} may not be read: allow it with chmod") from error
