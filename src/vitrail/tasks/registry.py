"""Registry of tasks."""

from importlib import import_module

from ..errors import VitrailError, nearest
from ..plugins import find_plugin, plugin_names
from ..task_spec import CLASSIFICATION, VIDEO, TaskSpec
from ..typed import build, field_types
from .task import Task

TASKS = {
    "classification": "classification:Classification",
    "regression": "regression:Regression",
    "embedding": "embedding:Embedding",
    "universal": "universal:Universal",
    "detection": "detection:Detection",
    "segmentation": "segmentation:Segmentation",
    "depth": "depth:Depth",
    "image-text": "image_text:ImageText",
    "video": "video:Video",
}
"""Name -> file and class. Other packages add theirs through the entry points `vitrail.tasks`."""

ARCHITECTURES_ONLY = (
    "reconstruction",
    "masked-image-modelling",
)
"""Tasks without a file here yet: their models can be built, planned, inspected and used for embeddings."""


def task_names() -> list[str]:
    """Names of all tasks, those of other packages included; nothing is imported."""
    return [*TASKS, *plugin_names("task")]


def resolve(spec: TaskSpec) -> Task:
    """Build the task of a spec.

    Raises:
        VitrailError: unknown name or option, or an invalid value.
    """
    kind = _class(spec.name)
    options = dict(spec.options)
    valid = field_types(kind)
    for name in options:
        if name not in valid:
            raise VitrailError(f"task {spec.name} has no option {name!r}: {nearest(name, valid or ['none'])}")
    return build(kind, options, f"task {spec.name}")


def resolve_for(spec: TaskSpec, frames: int | None) -> Task:
    """Build the task of a model that takes clips of so many frames, or with None images.

    A classifier of clips does the task video, also one of another library, whose config only says that it classifies.
    """
    if frames is not None and spec.name == CLASSIFICATION.name:
        spec = TaskSpec(VIDEO.name, spec.options)
    return resolve(spec)


def _class(name: str) -> type[Task]:
    if name in TASKS:
        module, _, kind = TASKS[name].partition(":")
        found: type[Task] = vars(import_module(f".{module}", __package__))[kind]
        return found
    plugin: type[Task] | None = find_plugin("task", name)
    if plugin is None:
        if name in ARCHITECTURES_ONLY:
            raise VitrailError(
                f"models for {name} can be built, planned and inspected, but not trained, evaluated or used for "
                f"predictions yet: use one for {', '.join(TASKS)}, or `vitrail embed` for their vectors"
            )
        raise VitrailError(f"there is no task {name!r}: {nearest(name, task_names())}")
    return plugin
