"""True labels of images to predict, if their folders or their table have them."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

from torch.utils.data import Dataset

from ..data.frame_folder import FramesAt
from ..data.open import FileAt, MemberAt, Sample, SourceLike, open_source
from ..errors import VitrailError
from ..tasks.outcomes import Cells, Names
from ..tasks.task import Task


def true_labels(sources: Iterable[SourceLike], samples: Sequence[Sample], task: Task, names: Names) -> list[Cells]:
    """Return the cells of the true label of each sample, see `Task.label_columns`; empty if no label is known.

    A label is known if the source can be opened with labels, and these are the model's: a folder of classes of which
    the model has one at least, or a table with its columns. Cells of a sample without a known label are empty, and so
    are those of an image that occurs with different labels.

    Args:
        sources: the sources of the samples; a torch Dataset is not read a second time.
        samples: samples without labels.
        task: task of the model.
        names: names of its outputs.
    """
    known: dict[Any, Cells] = {}
    for spec in sources:
        for key, cells in _labelled(spec, task, names):
            known[key] = cells if known.get(key, cells) == cells else ()
    return [known.get(_key(sample), ()) for sample in samples] if any(known.values()) else []


def _labelled(spec: SourceLike, task: Task, names: Names) -> list[tuple[Any, Cells]]:
    if isinstance(spec, Dataset):
        return []
    try:
        source = open_source(spec, task=task.spec)
    except VitrailError:
        return []
    cells = task.label_cells(source, names)
    return [] if cells is None else [(_key(sample), row) for sample, row in zip(source.samples, cells, strict=True)]


def _key(sample: Sample) -> Any:
    """Identity of an image, whether it was found with or without labels."""
    if isinstance(sample.location, FileAt):
        return os.path.normpath(sample.location.path)
    if isinstance(sample.location, FramesAt):
        return os.path.normpath(sample.location.folder)
    return sample.location if isinstance(sample.location, MemberAt) else sample.name
