"""Finds images and their maps, masks or depths, in folders beside each other."""

import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from .folder_source import files_below, folders_below, is_image, subfolders
from .map_names import IMAGE_ENDINGS, IMAGE_FOLDERS, is_other_kind, maps_beside, may_have_maps, without
from .samples import SPLIT_WORDS, BadFile, Split


@dataclass(frozen=True, slots=True)
class Pairs:
    """Images and their maps.

    Attributes:
        pairs: (image, map or None, split), paths relative to the root.
        bad: maps without an image, and further maps of an image.
    """

    pairs: tuple[tuple[str, str | None, Split | None], ...]
    bad: tuple[BadFile, ...]


def split_in(path: str) -> Split | None:
    """Split that a folder or file of a path names, such as train2017/ or valid.json; None if there is none."""
    for part in reversed(path.replace("\\", "/").split("/")):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in SPLIT_WORDS:
                return SPLIT_WORDS[word]
    return None


def find_pairs(
    root: Path,
    folders: Collection[str],
    endings: Collection[str],
    is_map: Callable[[str], bool] = is_image,
    *,
    is_asked: bool = False,
) -> Pairs | None:
    """Find images with maps of the same name: `images/` beside `masks/`, in the root or in its folders.

    Both may have the same folders inside (`images/train/`, `masks/train/`). The name of a map may end with one of
    `endings`; if it does, it may also be beside its image (`a.jpg`, `a_mask.png`), at any depth.

    Args:
        root: the folder.
        folders: names of folders of maps in lower case.
        endings: ends of the names of maps in lower case.
        is_map: whether a file of this name may be a map.
        is_asked: whether the user wants maps, so that a few of them beside their images are enough; otherwise most
            images need one.

    Returns:
        None if no image has a map.
    """
    pairs: list[tuple[str, str | None, Split | None]] = []
    bad: list[BadFile] = []
    for images, maps in _beside(root, folders):
        known: dict[str, str] = {}
        files = [path for path in files_below(root / maps) if is_map(os.path.basename(path))]
        for path in files:
            stem = os.path.splitext(path)[0]
            known.setdefault(without(stem, endings), path)
        for path in files:  # the very name wins over one with an ending
            known[os.path.splitext(path)[0].lower()] = path
        used = set()
        for path in _images_of(root, images):
            stem = os.path.splitext(path)[0]
            found = known.get(stem.lower()) or known.get(without(stem, IMAGE_ENDINGS))
            used.add(found)
            image = os.path.normpath(os.path.join(images, path))
            place = None if found is None else os.path.join(maps, found)
            pairs.append((image, place, split_in(os.path.dirname(image))))
        others = (path for path in files if path not in used and not is_other_kind(path))
        bad += [BadFile(os.path.join(maps, path), "no image of this name") for path in others]
    if not any(place for _, place, _ in pairs):
        return _in_one_folder(root, endings, is_map, is_asked=is_asked)
    return Pairs(tuple(pairs), tuple(bad))


def _in_one_folder(
    root: Path, endings: Collection[str], is_map: Callable[[str], bool], *, is_asked: bool
) -> Pairs | None:
    """Images with maps beside them; None if none has one, or, unless asked for, most or those of the first folder."""
    pairs: list[tuple[str, str | None, Split | None]] = []
    bad: list[BadFile] = []
    for folder, found in folders_below(root):
        is_first = not is_asked and not pairs
        if is_first and not may_have_maps(found, endings) and len([*islice(filter(is_image, found), 2)]) > 1:
            return None  # class folders may have very many images: the others are not looked at
        names = [name for name in found if is_image(name) or is_map(name)]
        maps = maps_beside(names, endings)
        if is_first and not maps and len(names) > 1:
            return None
        no_images = {*maps, *maps_beside(names)}  # a mask is no image without a depth
        first: dict[str, str] = {}
        for name, image in maps.items():
            if first.setdefault(image, name) != name:
                bad.append(BadFile(os.path.join(folder, name), f"a further map of {image}: join them in one file"))
        split = split_in(folder)
        for name in names:
            if name not in no_images and is_image(name):
                place = os.path.join(folder, first[name]) if name in first else None
                pairs.append((os.path.join(folder, name), place, split))
    mapped = sum(place is not None for _, place, _ in pairs)
    if not mapped or (not is_asked and 2 * mapped < len(pairs)):
        return None
    return Pairs(tuple(pairs), tuple(bad))


def _beside(root: Path, folders: Collection[str]) -> Iterator[tuple[str, str]]:
    """Folders of images and of maps beside each other, relative to the root."""
    for outer in ("", *subfolders(root)):
        names = {name.lower(): name for name in subfolders(root / outer)}
        maps = next((names[word] for word in folders if word in names), None)
        if maps is None:
            continue
        images = next((names[word] for word in IMAGE_FOLDERS if word in names), None)
        yield (outer if images is None else os.path.join(outer, images)), os.path.join(outer, maps)


def _images_of(root: Path, folder: str) -> Iterator[str]:
    """Images of a folder named for images at any depth; of another folder, which has the maps inside, only its own."""
    if os.path.basename(folder).lower() in IMAGE_FOLDERS:
        return (path for path in files_below(root / folder) if is_image(os.path.basename(path)))
    names = sorted(entry.name for entry in os.scandir(root / folder) if entry.is_file())
    return (name for name in names if is_image(name))
