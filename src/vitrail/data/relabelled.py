"""A source for another task, or without labels."""

from dataclasses import replace

from ..errors import VitrailError
from ..task_spec import CLASSIFICATION, REGRESSION, VIDEO, TaskSpec
from .annotated import ANNOTATIONS, DEPTH
from .samples import Source, takes_many


def without_labels(source: Source) -> Source:
    """Return the source without labels, as of images that nobody has labelled."""
    if source.label_kind == "classes" and not source.class_names and not any(s.labels for s in source.samples):
        return source
    samples = tuple(replace(sample, labels=(), annotated_size=None) for sample in source.samples)
    task = CLASSIFICATION if source.label_kind in ANNOTATIONS.values() else source.task
    return replace(source, class_names=(), samples=samples, task=task, label_kind="classes", notes=())


def with_task(source: Source, task: TaskSpec) -> Source:
    """Return the source for a task that the user gave.

    Raises:
        VitrailError: its labels do not fit that task.
    """
    kind = ANNOTATIONS.get(task.name)
    if (kind is not None and source.label_kind != kind) or (
        kind is None
        and source.label_kind in ANNOTATIONS.values()
        and task.name in (CLASSIFICATION.name, REGRESSION.name)
    ):
        raise VitrailError(
            f"{source.name} has {source.label_kind}, and --task {task} needs {kind or 'classes or numbers'}: leave "
            "--task out, or name another source"
        )
    if task.name == DEPTH.name:
        task = task.without("scale")  # the reader has applied it
    if task.name == REGRESSION.name and source.label_kind != "numbers":
        raise VitrailError(
            f"{source.name} has classes, and --task {task} needs numbers: name a CSV with columns of numbers"
        )
    if task.name == VIDEO.name:
        return as_clips(_with_one_class(source, task))
    if task.name == CLASSIFICATION.name:
        if source.label_kind != "classes":
            raise VitrailError(
                f"{source.name} has numbers, and --task {task} needs classes: leave --task out, or use {REGRESSION}"
            )
        if not takes_many(task) and any(len(sample.labels) != 1 for sample in source.samples):
            raise VitrailError(
                f"{source.name} has images with several classes or none, and --task {task} needs one: leave --task out"
            )
    if task.name == source.task.name:  # names and other options that the reader has found
        task = TaskSpec.of(task.name, **{**dict(source.task.options), **dict(task.options)})
    return replace(source, task=task)


def as_clips(source: Source) -> Source:
    """Return the source with samples that are read as clips."""
    return replace(source, samples=tuple(replace(sample, clip=True) for sample in source.samples))


def _with_one_class(source: Source, task: TaskSpec) -> Source:
    """The source for a task with one class for each sample.

    Raises:
        VitrailError: it has other labels.
    """
    if source.label_kind != "classes" or any(len(sample.labels) != 1 for sample in source.samples):
        raise VitrailError(
            f"{source.name} has labels for {source.task.name}, and --task {task} needs one class for each clip: name "
            "another source"
        )
    return replace(source, task=task)
