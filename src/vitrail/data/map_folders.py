"""Finds images and their maps, masks or depths, in folders beside each other."""

import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from .folder_source import files_below, is_image, subfolders
from .samples import SPLIT_WORDS, Split

IMAGE_FOLDERS = (
    "images", "image", "imgs", "img", "jpegimages", "leftimg8bit", "rgb", "color", "colour", "input", "inputs",
    "original", "photos",
)  # fmt: skip
MASK_FOLDERS = (
    "masks", "mask", "segmentationclass", "segmentation", "segmentations", "segmentation_masks", "semantic",
    "semantic_masks", "seg", "annotations", "annotation", "anns", "ann", "labels", "label", "labelmap", "gtfine",
    "groundtruth", "ground_truth", "gt", "masks_png", "mask_png", "labels_png",
)  # fmt: skip
DEPTH_FOLDERS = ("depth", "depths", "depth_map", "depth_maps", "depthmap", "depthmaps", "gt_depth", "depth_gt")
"""Names of folders in lower case; of several the first is used."""

MASK_ENDINGS = (
    "_mask", "-mask", "_masks", ".mask", "_label", "_labels", "_gt", "_seg", "_segmentation", "_annotation", "_l", "_p",
    "_gtfine_labelids", "_labelids", "_groundtruth",
)  # fmt: skip
DEPTH_ENDINGS = ("_depth", "-depth", ".depth", "_depth_map", "_d")
"""Ends of the names of maps, in lower case, that the names of their images do not have."""
_IMAGE_ENDINGS = ("_leftimg8bit", "_image", "_img", "_rgb", "_sat", "_colors")
_OTHER_KINDS = ("_color", "_instanceids", "_polygons")
"""Ends of the names of maps of another kind, such as for people to look at."""
_NO_MAPS = frozenset(("segmentationobject",))
"""Other folders of maps, in lower case, whose images are not data."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Images and their maps.

    Attributes:
        pairs: (image, map or None, split), paths relative to the root.
        lonely: maps without an image.
    """

    pairs: tuple[tuple[str, str | None, Split | None], ...]
    lonely: tuple[str, ...]


def is_map_folder(folder: str) -> bool:
    """Whether a path leads into a folder of masks or depths."""
    return any(part.lower() in _MAPS for part in folder.split(os.sep))


def split_in(path: str) -> Split | None:
    """Split that a folder or file of a path names, such as train2017/ or valid.json; None if there is none."""
    for part in reversed(path.replace("\\", "/").split("/")):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in SPLIT_WORDS:
                return SPLIT_WORDS[word]
    return None


def find_pairs(
    root: Path, folders: Collection[str], endings: Collection[str], is_map: Callable[[str], bool] = is_image
) -> Pairs | None:
    """Find images with maps of the same name: `images/` beside `masks/`, in the root or in its folders.

    Both may have the same folders inside (`images/train/`, `masks/train/`). The name of a map may end with one of
    `endings`.

    Args:
        root: the folder.
        folders: names of folders of maps in lower case.
        endings: ends of the names of maps in lower case.
        is_map: whether a file of this name may be a map.

    Returns:
        None if no image has a map.
    """
    pairs: list[tuple[str, str | None, Split | None]] = []
    lonely: list[str] = []
    for images, maps in _beside(root, folders):
        known: dict[str, str] = {}
        files = [path for path in files_below(root / maps) if is_map(os.path.basename(path))]
        for path in files:
            stem = os.path.splitext(path)[0]
            known.setdefault(_without(stem, endings), path)
        for path in files:  # the very name wins over one with an ending
            known[os.path.splitext(path)[0].lower()] = path
        used = set()
        for path in _images_of(root, images):
            stem = os.path.splitext(path)[0]
            found = known.get(stem.lower()) or known.get(_without(stem, _IMAGE_ENDINGS))
            used.add(found)
            image = os.path.normpath(os.path.join(images, path))
            place = None if found is None else os.path.join(maps, found)
            pairs.append((image, place, split_in(os.path.dirname(image))))
        others = (path for path in files if path not in used)
        lonely += [os.path.join(maps, path) for path in others if not _is_other(path)]
    if not any(place for _, place, _ in pairs):
        return None
    return Pairs(tuple(pairs), tuple(lonely))


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


def _without(stem: str, endings: Collection[str]) -> str:
    lower = stem.lower()
    return next((lower.removesuffix(ending) for ending in endings if lower.endswith(ending)), lower)


def _is_other(path: str) -> bool:
    return os.path.splitext(path)[0].lower().endswith(_OTHER_KINDS)


_MAPS = frozenset((*MASK_FOLDERS, *DEPTH_FOLDERS)) | _NO_MAPS
