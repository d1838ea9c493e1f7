"""Joins what a reader of annotations found out about each image to a source."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import VitrailError
from ..task_spec import TaskSpec
from .samples import BadFile, FileAt, LabelKind, Sample, Source, Split, printable

DETECTION, SEGMENTATION = TaskSpec("detection"), TaskSpec("segmentation")
DEPTH, IMAGE_TEXT = TaskSpec("depth"), TaskSpec("image-text")

ANNOTATIONS: dict[str, LabelKind] = {
    DETECTION.name: "boxes",
    SEGMENTATION.name: "maps",
    DEPTH.name: "maps",
    IMAGE_TEXT.name: "texts",
    "universal": "several",
}
"""Name of a task -> what its labels are."""

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Annotated:
    """What is known about one image.

    Attributes:
        name: its name, see `Sample`.
        path: path of its file.
        split: split that it belongs to.
        labels: its labels; not used if there are problems.
        size: height and width that the annotations state.
        problems: what is wrong with its annotations, a clause each.
    """

    name: str
    path: str
    split: Split | None
    labels: tuple[Any, ...] = ()
    size: tuple[int, int] | None = None
    problems: tuple[str, ...] = ()


def make_source(
    name: str,
    annotated: Iterable[Annotated],
    *,
    class_names: Sequence[str],
    task: TaskSpec,
    kind: LabelKind,
    bad: Iterable[BadFile] = (),
    notes: Iterable[str] = (),
) -> Source:
    """Make the source of images and their annotations; images with problems become bad files.

    Splits are used only if every image has one.

    Raises:
        VitrailError: no image can be used.
    """
    found, stray = list(annotated), list(bad)
    of_images = [BadFile(printable(image.name), joined(image.problems)) for image in found if image.problems]
    faulty = [*stray, *of_images]
    used = [image for image in found if not image.problems]
    if not found and not faulty:
        raise VitrailError(f"{name} names no image: give it some, each with its annotations")
    if not used:
        first = _first([*of_images, *stray])
        raise VitrailError(f"none of the {count_images(len(found))} of {name} can be used{first}")
    has_splits = all(image.split is not None for image in found)
    samples = tuple(
        Sample(
            image.name,
            image.labels,
            image.split if has_splits else None,
            FileAt(image.path),
            annotated_size=image.size,
        )
        for image in used
    )
    return Source(name, tuple(class_names), samples, task, tuple(faulty), kind, tuple(notes))


def task_note(wanted: TaskSpec | None, task: TaskSpec, text: str) -> str:
    """Sentence on what was read, which begins with the task if it was inferred."""
    return f"task {task.name}: {text}" if wanted is None else text


def joined(problems: Sequence[str]) -> str:
    """The first of many clauses."""
    more = len(problems) - _NAMED
    return "; ".join(problems[:_NAMED]) + (f"; and {more:,} more" if more > 0 else "")


def count_images(count: int) -> str:
    """Return a number of images in words: "1 image"."""
    return f"{count:,} image{'s' * (count != 1)}"


def some(names: Sequence[str], most: int = 5) -> str:
    """The first of many names."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def with_background(names: Sequence[str]) -> list[str]:
    """Return the classes of regions, after a class "background", which may be one of them."""
    first = next((name for name in names if name.lower() in ("background", "_background_")), "background")
    return [first, *(name for name in names if name != first)]


def check_names(names: Sequence[str], where: str) -> None:
    """Raise VitrailError if there are no class names, an empty one, or the same one twice."""
    if not names:
        raise VitrailError(f"{where} names no class")
    if not all(names):
        raise VitrailError(f"{where} has a class without a name: give each class one")
    twice = [name for name, count in Counter(name.casefold() for name in names).items() if count > 1]
    if twice:
        raise VitrailError(f"{where} names the class {twice[0]!r} twice: give each class a name of its own")


def _first(faulty: Sequence[BadFile], most: int = 5) -> str:
    """The first faults as lines below a sentence."""
    lines = [f"  {one.name}: {one.reason}" for one in faulty[:most]]
    more = [f"  and {len(faulty) - most:,} more"] if len(faulty) > most else []
    return ":\n" + "\n".join([*lines, *more]) if lines else ""
