"""The command `vitrail train`."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ..progress import to_stderr, visible
from .options import COMPUTE, Option, OptionalOut, OptionalPrecision, Strict

if TYPE_CHECKING:
    from ..training.recipe import Recipe

_LENGTH = "Length"


@dataclass
class Train:
    """Train a Vision Transformer on labelled images.

    The source is a folder with a folder for each class (with or without train/, val/ and test/ above them), a CSV, tar
    shards, `digits`, or a named data set such as cifar10. Options that are not given are chosen from the data and the
    machine.

    Examples:
        vitrail train photos/
        vitrail train photos/ --recipe finetune --weights runs/old --minutes 20
        vitrail train digits --model vit_tiny_patch16_224 --set lr=1e-3 drop_path=0.1
        vitrail train houses.csv --task regression
        vitrail train --resume runs/photos-1
        vitrail train --resume runs/photos-1 --source /new/place/photos
    """

    data: Annotated[str | None, Option(metavar="SOURCE", positional=True)] = None
    """Labelled images to train on. Not given with --resume."""
    model: Annotated[str | None, Option(metavar="VARIANT")] = None
    """Variant, such as vit_tiny_patch16_224; see `vitrail models`."""
    weights: Annotated[str | None, Option(metavar="CHECKPOINT")] = None
    """Checkpoint to start from: a run, a folder, a file or a hub id."""
    task: Annotated[str | None, Option(shown_default="from the labels")] = None
    """Task of the labels: classification, classification:labels=many, or regression."""
    recipe: str = "default"
    """A name of `vitrail recipes`, such as finetune; a recipe.yaml; or a run folder, to repeat that run."""
    image_size: Annotated[int | None, Option(metavar="PIXELS")] = None
    """Side of the model's input in pixels."""
    skip_bad: bool = False
    """Skip files that cannot be read, and list them in bad_files.csv, instead of stopping."""
    strict: Strict = True
    beside: Annotated[list[str], Option(metavar="RUN")] = field(default_factory=list)
    """Other runs whose validation curves the report draws too."""
    set: Annotated[list[str], Option(metavar="FIELD=VALUE")] = field(default_factory=list)
    """Any fields of the recipe, such as lr=1e-3 objective.mixup=0.2."""
    epochs: Annotated[float | None, Option(section=_LENGTH)] = None
    """Passes over the training images."""
    minutes: Annotated[float | None, Option(section=_LENGTH)] = None
    """Time budget of the whole run; the number of steps is chosen by the measured speed."""
    resume: Annotated[Path | None, Option(metavar="RUN", section=_LENGTH)] = None
    """Resume this run; the results are the same as without an interruption."""
    source: Annotated[str | None, Option(metavar="SOURCE", section=_LENGTH)] = None
    """With --resume: new path of the data, if they were moved; images are compared by content."""
    batch_size: Annotated[int | None, Option(section=COMPUTE, shown_default="from the data")] = None
    """Images in one step."""
    device: Annotated[str | None, Option("auto, cpu, cuda or cuda:1.", section=COMPUTE, shown_default="auto")] = None
    precision: OptionalPrecision = None
    seed: Annotated[int | None, Option(section=COMPUTE)] = None
    """Seed of all random numbers; the same seed gives the same weights."""
    out: OptionalOut = None
    """Run folder to create, by default runs/SOURCE-N."""

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
        if self.resume is None:
            self.start(self.named_recipe(), started)
            return
        from ..training.publish.next_steps import next_steps
        from ..training.run import resume

        run = resume(self.resume, source=self.source, progress=visible, say=to_stderr, started=started)
        print(next_steps(run.path, run.metrics))

    def start(self, recipe: "Recipe", started: float) -> None:
        """Train with a recipe, and print the result and the next commands."""
        from ..training.publish.next_steps import next_steps
        from ..training.run import train

        assert self.data is not None
        run = train(
            self.data,
            recipe,
            out=self.out,
            skip_bad=self.skip_bad,
            progress=visible,
            say=to_stderr,
            started=started,
        )
        print(next_steps(run.path, run.metrics))

    def named_recipe(self) -> "Recipe":
        """The recipe with the options of the command line."""
        from ..training.recipe import with_changes
        from ..training.recipe_file import read_recipe, set_fields

        return set_fields(with_changes(read_recipe(self.recipe), **self._changes()), self.set)

    def _of_new_runs(self) -> list[str]:
        """The given options that only a new run has."""
        others = {"no_strict": not self.strict, "recipe": self.recipe != "default", "set": self.set}
        others |= {"out": self.out is not None, "skip_bad": self.skip_bad}
        changed = [name for name, value in self._changes().items() if name != "strict" and value is not None]
        given = [*changed, *(name for name, value in others.items() if value)]
        return [f"--{name.replace('_', '-')}" for name in given]

    def _changes(self) -> dict[str, Any]:
        """Fields of the recipe with an option of their own."""
        words = "model weights task epochs minutes batch_size image_size precision seed device"
        given = {name: vars(self)[name] for name in words.split()}
        given["beside"] = tuple(self.beside) or None
        return given if self.strict else {**given, "strict": False}
