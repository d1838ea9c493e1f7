"""How files and folders of maps, masks or depths, are named in published data."""

import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence

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
IMAGE_ENDINGS = ("_leftimg8bit", "_image", "_img", "_rgb", "_sat", "_colors")
_OTHER_KINDS = ("_color", "_instanceids", "_polygons")
"""Ends of the names of maps of another kind, such as for people to look at."""
_NO_MAPS = frozenset(("segmentationobject",))
"""Other folders of maps, in lower case, whose images are not data."""
_MAPS = frozenset((*MASK_FOLDERS, *DEPTH_FOLDERS)) | _NO_MAPS

_CLEAR = 3
"""Shortest ending that marks a map beside its image: names of images, too, often end with `_l` or `_d`."""


def is_map_folder(folder: str) -> bool:
    """Whether a path leads into a folder of masks or depths."""
    return any(part.lower() in _MAPS for part in folder.split(os.sep))


def are_images_and_maps(folders: Collection[str]) -> bool:
    """Whether folders beside each other are one of images and others of their maps, by their names."""
    names = {name.lower() for name in folders}
    return bool(names & {*IMAGE_FOLDERS}) and bool(names & _MAPS) and names <= {*IMAGE_FOLDERS} | _MAPS


def is_other_kind(path: str) -> bool:
    """Whether a map is of a kind that nothing is learned from."""
    return os.path.splitext(path)[0].lower().endswith(_OTHER_KINDS)


def without(stem: str, endings: Collection[str]) -> str:
    """A name in lower case without the first of the endings that it has."""
    lower = stem.lower()
    return next((lower.removesuffix(ending) for ending in endings if lower.endswith(ending)), lower)


def plain_stem(name: str) -> str:
    """Name of a file in lower case, without suffix and the endings of maps and of images."""
    return without(without(os.path.splitext(name)[0], (*MASK_ENDINGS, *DEPTH_ENDINGS)), IMAGE_ENDINGS)


def may_have_maps(names: Iterable[str], endings: Collection[str] = (*MASK_ENDINGS, *DEPTH_ENDINGS)) -> bool:
    """Whether any of the names of a folder can be one of a map beside its image; fast for very many names."""
    text = "\n".join(names).lower()
    return any(ending in text for ending in endings if len(ending) >= _CLEAR)


def maps_beside(names: Sequence[str], endings: Collection[str] = (*MASK_ENDINGS, *DEPTH_ENDINGS)) -> dict[str, str]:
    """Find the maps among the files of a folder: `a_mask.png` beside `a.jpg`, or `a_mask_1.png`.

    Returns:
        name of the map -> name of its image.
    """
    if not may_have_maps(names, endings):
        return {}
    clear = tuple(ending for ending in endings if len(ending) >= _CLEAR)
    stems = {name: composed(os.path.splitext(name)[0].lower()) for name in names}
    found = {name: plain for name, stem in stems.items() if (plain := _unnumbered(stem)).endswith(clear)}
    others = {name: stem for name, stem in stems.items() if name not in found}
    images = {without(stem, IMAGE_ENDINGS): name for name, stem in others.items()}
    images |= {stem: name for name, stem in others.items()}  # the very name wins over one with an ending
    pairs = {name: images.get(without(plain, clear)) for name, plain in found.items()}
    return {name: image for name, image in pairs.items() if image is not None}


def composed(text: str) -> str:
    """The text as most systems write it; macOS writes some file names decomposed."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _unnumbered(stem: str) -> str:
    return re.sub(r"[_-]\d+$", "", stem) if stem[-1:].isdigit() else stem
