"""Folders of images and masks, with a value or colour for each class."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..errors import VitrailError
from ..task_spec import TaskSpec
from .annotated import SEGMENTATION, Annotated, make_source, task_note
from .class_lists import find_class_list
from .image_sets import described, read_image_sets, stem_of
from .map_facts import MapFacts, map_facts
from .map_folders import find_pairs
from .map_names import MASK_ENDINGS, MASK_FOLDERS
from .mask_coding import Coding, MaskFile, find_coding, inspect_mask
from .samples import BadFile, Source, Split

TASKS = ("segmentation",)
OPENS_UNLABELLED = True


def matches(root: Path, task: TaskSpec | None) -> bool:
    """Whether a folder has images and masks of the same names in folders beside each other."""
    return find_pairs(root, MASK_FOLDERS, MASK_ENDINGS, is_asked=task is not None) is not None


def open_folder(root: Path, labelled: bool, task: TaskSpec | None) -> Source:
    """Open images and masks.

    With labels, all masks are read once, because only their values show how classes are coded; what was found is
    cached.

    Raises:
        VitrailError: no usable image, or the masks have colours that no table names.
    """
    found = find_pairs(root, MASK_FOLDERS, MASK_ENDINGS, is_asked=task is not None)
    if found is None:
        raise VitrailError(f"no image of {root} has a mask: put masks/ with the names of the images beside images/")
    if not labelled:
        images = [Annotated(image, str(root / image), split) for image, _, split in found.pairs]
        return make_source(str(root), images, class_names=(), task=SEGMENTATION, kind="maps")
    lists = read_image_sets(root, "Segmentation")
    pairs = [
        (image, mask, lists.get(stem_of(image), split))
        for image, mask, split in found.pairs
        if not lists or stem_of(image) in lists
    ]
    folders = dict.fromkeys(os.path.dirname(mask) for _, mask, _ in pairs if mask)
    listed = find_class_list(root, *_upwards(folders, root))
    paths = [str(root / mask) for _, mask, _ in pairs if mask]
    by_colour = listed is not None and bool(listed.colours)
    kind = "mask in colours" if by_colour else "grey mask"
    facts = dict(zip(paths, map_facts(paths, kind, partial(inspect_mask, colours=by_colour)), strict=True))
    readable = [(path, fact) for path, fact in facts.items() if isinstance(fact, MapFacts)]
    coding, class_names, notes = find_coding(readable, listed, str(root))
    images = [_annotated(root, image, mask, split, facts, coding) for image, mask, split in pairs]
    images, hidden = _without_hidden_parts(images, facts, coding, str(root))
    notes += hidden
    lonely = [one for one in found.bad if not lists or stem_of(one.name) in lists]
    text = f"masks in {next(iter(folders), '') or 'the folder of the images'}"
    text += f" and {len(folders) - 1} more folder{'s' * (len(folders) > 2)}" if len(folders) > 1 else ""
    if lists:
        notes += described(lists, "Segmentation", {stem_of(image) for image, _, _ in found.pairs})
    return make_source(
        str(root),
        images,
        class_names=class_names,
        task=SEGMENTATION,
        kind="maps",
        bad=lonely,
        notes=[task_note(task, SEGMENTATION, text), *notes],
    )


def _annotated(
    root: Path,
    image: str,
    mask: str | None,
    split: Split | None,
    facts: dict[str, MapFacts | BadFile],
    coding: Coding,
) -> Annotated:
    full = str(root / image)
    if mask is None:
        return Annotated(image, full, split, problems=("no mask",))
    fact = facts[str(root / mask)]
    if isinstance(fact, BadFile):
        return Annotated(image, full, split, problems=(f"its mask {mask}: {fact.reason}",))
    size = (fact.height, fact.width)
    if coding.colours != (fact.bands == 3):
        wrong = "has colours, the others have none" if fact.bands == 3 else "has no colours, the others have"
        return Annotated(image, full, split, problems=(f"its mask {mask} {wrong}",))
    if unknown := coding.unknown(fact.values):
        text = f"its mask {mask} has the {coding.named(unknown)}, which stand{'s' * (len(unknown) == 1)} for no class"
        return Annotated(image, full, split, problems=(text,))
    return Annotated(image, full, split, (MaskFile(str(root / mask), coding),), size)


def _without_hidden_parts(
    images: Sequence[Annotated], facts: dict[str, MapFacts | BadFile], coding: Coding, where: str
) -> tuple[list[Annotated], list[str]]:
    """The images without those of parts whose masks are ignored throughout, and notes.

    Published sets often keep the masks of their test part back like this.
    """
    shown: dict[Split | None, bool] = {}
    for image in images:
        for label in image.labels:
            fact = facts[label.path]
            is_shown = isinstance(fact, MapFacts) and not coding.ignores(fact.values)
            shown[image.split] = shown.get(image.split, False) or is_shown
    hidden = [split for split, is_shown in shown.items() if not is_shown]
    if shown and len(hidden) == len(shown):
        raise VitrailError(f"all pixels of all masks in {where} are ignored: nothing can be learned, use others")
    kept = [image for image in images if image.split not in hidden or image.problems]
    return kept, [f"all pixels of the masks of {split} are ignored: its images are not used" for split in hidden]


def _upwards(folders: Sequence[str] | dict[str, None], root: Path) -> list[Path]:
    """The folders, and those that they are in, up to the root."""
    found: dict[Path, None] = {}
    for folder in folders:
        while folder:
            found[root / folder] = None
            folder = os.path.dirname(folder)
    return list(found)
