"""The source `scenes`: drawn images with known truth for every task."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from ...errors import VitrailError, nearest
from ...task_spec import CLASSIFICATION, MULTI_LABEL, TaskSpec
from ..samples import LabelKind, Location, Sample, Source, Split, takes_many
from . import truth
from .clips import motion_class, motion_names
from .locations import ClipAt, SceneAt, SceneMap
from .options import SceneOptions
from .scene import SceneSet, scene_set


@dataclass(frozen=True, slots=True)
class _Labels:
    """Labels of scenes for a task: kind, names, function of (scenes, split, index), and a sentence."""

    kind: LabelKind
    names: Callable[[SceneSet], tuple[str, ...]]
    of: Callable[[SceneSet, Split, int], tuple[Any, ...]]
    words: str


_ONE_CLASS = _Labels(
    "classes",
    lambda scenes: scenes.class_names,
    lambda scenes, split, index: (truth.image_class(scenes, split, index),),
    "the class of the nearest object, which is the largest",
)
_ALL_CLASSES = _Labels("classes", lambda scenes: scenes.class_names, truth.image_classes, "the classes of all objects")

_LABELS = {
    "classification": _ONE_CLASS,
    "regression": _Labels(
        "numbers",
        lambda scenes: scenes.options.numbers,
        truth.numbers,
        "centre and larger side of the nearest object, as fractions of the image, and the number of objects",
    ),
    "detection": _Labels(
        "boxes", lambda scenes: scenes.class_names, truth.boxes, "a box around the visible part of each object"
    ),
    "segmentation": _Labels(
        "maps",
        lambda scenes: ("background", *scenes.class_names),
        lambda scenes, split, index: (SceneMap(scenes, split, index, "classes"),),
        "the class of each pixel",
    ),
    "depth": _Labels(
        "maps",
        lambda scenes: (),
        lambda scenes, split, index: (SceneMap(scenes, split, index, "depth"),),
        "the distance of each pixel in metres",
    ),
    "image-text": _Labels("texts", lambda scenes: (), truth.captions, "captions of objects and their places"),
    "video": _Labels(
        "classes",
        motion_names,
        lambda scenes, split, index: (motion_class(scenes, split, index),),
        "how the object moves",
    ),
}
"""Name of a task -> labels of scenes for it."""


_UNIVERSAL = ("classification", "detection", "segmentation", "depth")


def _universal(scenes: SceneSet, task: TaskSpec) -> tuple[_Labels, TaskSpec]:
    """Labels for several tasks, as (task, labels) pairs, and the task with the names of objects and pixels."""
    tasks = dict(task.options).get("tasks", _UNIVERSAL)
    parts = {name: _LABELS[name] for name in ((tasks,) if isinstance(tasks, str) else tasks)}

    def of(scenes: SceneSet, split: Split, index: int) -> tuple[Any, ...]:
        return tuple((name, part.of(scenes, split, index)) for name, part in parts.items())

    words = "; ".join(part.words for part in parts.values())
    pairs = (("object_names", "detection"), ("pixel_names", "segmentation"))
    names = {field: parts[name].names(scenes) for field, name in pairs if name in parts}
    labels = _Labels("several", lambda scenes: scenes.class_names if "classification" in parts else (), of, words)
    return labels, TaskSpec.of("universal", tasks=tuple(parts), **names)


def scenes_source(rest: str, labelled: bool, task: TaskSpec | None) -> Source:
    """Open scenes, which are drawn when they are read.

    Args:
        rest: options, see `SceneOptions.parse`.
        labelled: whether labels are needed.
        task: what the labels are for; None: classification. Without labels only "video" matters: it has clips.

    Raises:
        VitrailError: an option that is not allowed, or a task that scenes have no labels for.
    """
    options = SceneOptions.parse(rest)
    task = _plain(task or CLASSIFICATION)
    if task.name == "image-text":
        options = options.for_captions()
    scenes = scene_set(options)
    labels = None
    if labelled and task.name == "universal":
        labels, task = _universal(scenes, task)
    elif labelled:
        labels = _labels(task)
    place: Callable[[SceneSet, Split, int], Location] = ClipAt if task.name == "video" else SceneAt
    size = (options.size, options.size)
    samples = tuple(
        Sample(
            f"scenes/{split}/{index}",
            labels.of(scenes, split, index) if labels else (),
            split,
            place(scenes, split, index),
            annotated_size=size if labels and labels.kind in ("boxes", "maps", "several") else None,
            clip=task.name == "video",
        )
        for split in get_args(Split)
        for index in range(options.count(split))
    )
    if labels is None:
        return Source("scenes", (), samples)
    note = f"task {task.name}: {labels.words}"
    if not rest and task == CLASSIFICATION:
        note += f"; --task {', '.join(_LABELS)} have other labels"
    return Source("scenes", labels.names(scenes), samples, task, label_kind=labels.kind, notes=(note,))


def _plain(task: TaskSpec) -> TaskSpec:
    """The task without what a checkpoint adds to it, such as a temperature."""
    if task.name == "universal":
        return task.without("object_names", "pixel_names", "middle", "deepest", "threshold")
    return MULTI_LABEL if takes_many(task) else TaskSpec(task.name)


def _labels(task: TaskSpec) -> _Labels:
    if task.name not in _LABELS:
        known = [*_LABELS, "universal"]
        raise VitrailError(f"scenes have no labels for task {task.name}; {nearest(task.name, known)}")
    return _ALL_CLASSES if takes_many(task) else _LABELS[task.name]
