"""Facts of a source that advice depends on, from its survey."""

from ..data.samples import BadFile
from ..progress import Track, silent
from ..task_spec import CLASSIFICATION, TaskSpec
from ..training.training_data import Reading, read_data
from .advice import Problem


def source_problem(
    source: str, *, task: str | None = None, skip_bad: bool = False, strict: bool = True, progress: Track = silent
) -> tuple[Problem, tuple[BadFile, ...]]:
    """Problem with the images, classes, size and task of a source, and its bad files.

    Each image is decoded once, as before a training.

    Its images are those that `vitrail train` would train on, without the validation and test parts.

    Args:
        source: labelled images.
        task: task of the labels, as `--task` of `train`; None: inferred from them.
        skip_bad: leave out files that cannot be read.
        strict: damaged files that can still be decoded are bad too.

    Raises:
        VitrailError: a source that cannot be trained on.
    """
    spec = TaskSpec.parse(task) if task else None
    data = read_data(source, Reading(task=spec, skip_bad=skip_bad, strict=strict), progress=progress)
    name = data.survey.source.task.name
    problem = Problem(
        images=len(data.train),
        classes=len(data.names) if name == CLASSIFICATION.name else 0,
        side=data.side,
        task=name,
        source=source,
    )
    return problem, data.survey.bad
