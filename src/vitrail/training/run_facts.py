"""data.json of a run folder: facts that resuming needs in addition to the recipe."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ..errors import VitrailError
from ..json_text import json_text
from ..objectives.distill import DistillConfig
from ..objectives.teachers import absolute_teacher
from ..plain import short
from ..task_spec import TaskSpec
from ..typed import build, field_types
from .folder import DATA, versions
from .reading import reading_limit
from .recipe import Recipe
from .setup import RunSetup
from .training_data import Reading


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """How the source was read, and other facts that the results depend on. Plain JSON values.

    Attributes:
        source: an absolute path, a name, or the name of a `Source` from Python.
        labelled: whether labels were used.
        skip_bad: whether files that can't be read were left out.
        read_as: the task that the user gave, as `TaskSpec.to_dict`; None if it was inferred from the data.
        surveyed: number of images that were read, if there was no time for all.
        task: the task with its fitted values, as `TaskSpec.to_dict`; None without labels.
        class_names: names of the outputs.
        knn: digest of the images for kNN; None without any.
        threads: number of CPU threads, on which the last digits of matrix products depend.
        own: objects from Python that must be given again: "source", "transform".
        versions: versions of the libraries, and the git commit.
    """

    source: str
    labelled: bool = True
    skip_bad: bool = False
    read_as: dict[str, Any] | None = None
    surveyed: int | None = None
    task: dict[str, Any] | None = None
    class_names: tuple[str, ...] = ()
    knn: str | None = None
    threads: int = 1
    own: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, setup: RunSetup, reading: Reading, *, own_source: bool) -> "RunFacts":
        """The facts of a new run, with the current number of threads."""
        data = setup.data
        own = {"source": own_source, "transform": setup.transform is not None}
        return cls(
            source=data.name if own_source else absolute(data.name),
            labelled=reading.labelled,
            skip_bad=reading.skip_bad,
            read_as=reading.task.to_dict() if reading.task else None,
            surveyed=data.survey.read if data.survey.total else None,
            task=data.task.spec.to_dict() if data.task else None,
            class_names=data.names,
            knn=setup.knn.digest if setup.knn else None,
            threads=torch.get_num_threads(),
            own=tuple(name for name, is_own in own.items() if is_own),
            versions=versions(),
        )

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "RunFacts":
        """Inverse of `to_json`; also reads files of earlier versions, with a word as the task and fewer fields."""
        if not isinstance(values, dict):
            raise VitrailError(f"{DATA} is {short(values)}: restore it, or start a new run")
        known = field_types(cls)
        found = {name: value for name, value in values.items() if name in known}
        if isinstance(found.get("task"), str):
            del found["task"]
        return build(cls, found, DATA)

    def to_json(self) -> str:
        """The text of data.json."""
        return json_text(asdict(self), indent=2) + "\n"

    def reading(self, recipe: Recipe) -> Reading:
        """How to read the source again."""
        return Reading(
            labelled=self.labelled,
            task=TaskSpec.from_dict(self.read_as) if self.read_as else None,
            val=recipe.val,
            test=recipe.test if self.labelled else 0.0,
            skip_bad=self.skip_bad,
            strict=recipe.strict,
            limit=reading_limit(recipe, self.surveyed) if self.surveyed else None,
        )

    def require(self, run: Path, given: dict[str, Any]) -> None:
        """Raise VitrailError if an object that came from Python is not given again."""
        for name in self.own:
            if given.get(name) is None:
                raise VitrailError(
                    f"{run} was trained with a {name} from Python: pass it again, vitrail.resume(run, {name}=...)"
                )


def absolute(name: str) -> str:
    """Make a path absolute, so that a run can be resumed from another folder; a name is returned unchanged."""
    return str(Path(name).resolve()) if Path(name).exists() else name


def with_absolute_paths(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths of its teacher and of the runs beside it."""
    objective = recipe.objective
    if isinstance(objective, DistillConfig):
        objective = replace(objective, teacher=absolute_teacher(objective.teacher))
    return replace(recipe, objective=objective, beside=tuple(absolute(run) for run in recipe.beside))
