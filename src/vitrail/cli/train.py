"""The command `vitrail train`."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from ..progress import to_stderr, visible
from .options import Option
from .training_options import TrainingOptions, print_result

_RESUMING = "Resuming"


@dataclass(kw_only=True)
class Train(TrainingOptions):
    """Train a Vision Transformer on labelled images.

    The source is a folder with a folder for each class (with or without train/, val/ and test/ above them), a CSV, tar
    shards, `digits`, or a named data set such as cifar10. Options that are not given are chosen from the data and the
    machine.

    Examples:
        vitrail train photos/
        vitrail train photos/ --recipe finetune --weights runs/old --minutes 20
        vitrail train digits --model vit_tiny_patch16_224 --set lr=1e-3 drop_path=0.1
        vitrail train houses.csv --task regression
        vitrail train clips/ --task video
        vitrail train --resume runs/photos-1
        vitrail train --resume runs/photos-1 --source /new/place/photos
    """

    data: Annotated[str | None, Option(metavar="SOURCE", positional=True)] = None
    """Labelled images to train on. Not given with --resume."""
    task: Annotated[str | None, Option(shown_default="from the labels")] = None
    """Task of the labels, such as classification, classification:labels=many, regression or image-text."""
    objective: Annotated[str | None, Option(shown_default="that of the task")] = None
    """Objective to minimise, such as clip or siglip for images with captions; docs/tasks.md describes each."""
    recipe: str = "default"
    """A name of `vitrail recipes`, such as finetune; a recipe.yaml; or a run folder, to repeat that run."""
    resume: Annotated[Path | None, Option(metavar="RUN", section=_RESUMING)] = None
    """Resume this run; the results are the same as without an interruption."""
    source: Annotated[str | None, Option(metavar="SOURCE", section=_RESUMING)] = None
    """With --resume: new path of the data, if they were moved; images are compared by content."""

    def run(self) -> None:
        started = time.monotonic()
        from ..errors import VitrailError

        if (self.data is None) == (self.resume is None):
            raise VitrailError("give a source to train on, or --resume RUN to continue a run")
        if self.resume is not None and (given := self._of_new_runs()):
            raise VitrailError(f"--resume goes on with the run's own options: leave {', '.join(given)} out")
        if self.source is not None and self.resume is None:
            raise VitrailError(f"--source {self.source} is for --resume: name the images to train on without it")
        to_stderr(f"reading {self.data or self.resume}")  # before the imports, which take seconds on a slow machine
        from ..training.recipe_file import read_recipe
        from ..training.run import resume, train

        if self.resume is not None:
            run = resume(self.resume, source=self.source, progress=visible, say=to_stderr, started=started)
        else:
            assert self.data is not None
            run = train(
                self.data,
                self.with_options(read_recipe(self.recipe), self.data),
                out=self.out,
                skip_bad=self.skip_bad,
                progress=visible,
                say=to_stderr,
                started=started,
            )
        print_result(run)

    def changes(self) -> dict[str, Any]:
        from ..objectives.registry import objective_config

        objective = None if self.objective is None else objective_config(self.objective)()
        return {**super().changes(), "task": self.task, "objective": objective}

    def _of_new_runs(self) -> list[str]:
        """The given options that only a new run has."""
        values = self.changes() | {"recipe": None if self.recipe == "default" else self.recipe, "set": self.set or None}
        values |= {"out": self.out, "skip_bad": self.skip_bad or None, "no_strict": values.pop("strict")}
        return [f"--{name.replace('_', '-')}" for name, value in values.items() if value is not None]
