"""The command `vitrail distill`."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ..progress import to_stderr, visible
from .options import Option
from .training_options import TrainingOptions, print_result

if TYPE_CHECKING:
    from ..training.recipe import Recipe

_TEACHER = "Teacher"


@dataclass(kw_only=True)
class Distill(TrainingOptions):
    """Train a Vision Transformer on labelled images and on the outputs of a teacher.

    The teacher is any classifier that knows the classes of the source: a run or checkpoint of vitrail, also of a CNN
    (train one with `vitrail train SOURCE --model resnet18`), or timm:NAME. A student with a distillation token
    (deit_*_distilled_*, levit_*) learns the teacher's outputs with that one. The other options are those of `vitrail
    train`; continue an interrupted run with `vitrail train --resume RUN`.

    With --store the teacher's logits are computed once, for --epochs epochs of augmented images, and written to a
    folder, which is then the teacher of any number of students with the same --seed and --recipe.

    Examples:
        vitrail distill photos/ --teacher runs/cnn --model compact_small_128
        vitrail distill photos/ --teacher runs/cnn --model levit_128s --kind hard
        vitrail distill photos/ --teacher runs/large --store logits/ --epochs 20
        vitrail distill photos/ --teacher logits/ --epochs 100
    """

    source: Annotated[str, Option(metavar="SOURCE", positional=True)]
    """Labelled images to train on."""
    task: Annotated[str | None, Option(shown_default="from the labels")] = None
    """Task of the labels: classification, or classification:labels=many."""
    recipe: str = "default"
    """A name of `vitrail recipes`, such as finetune; a recipe.yaml; or a run folder, to repeat that run."""
    teacher: Annotated[str, Option(metavar="CHECKPOINT", section=_TEACHER)]
    """Run, folder, file or hub id of a classifier; timm:NAME or timm:NAME:FILE; or a folder written by --store."""
    kind: Annotated[Literal["soft", "hard"], Option(section=_TEACHER)] = "soft"
    """soft: learn the teacher's probabilities; hard: its most probable class."""
    temperature: Annotated[float, Option(section=_TEACHER)] = 3.0
    """Divisor of the logits before the soft comparison."""
    weight: Annotated[float, Option(section=_TEACHER)] = 0.5
    """Fraction of the loss that is the teacher's."""
    store: Annotated[Path | None, Option(metavar="FOLDER", section=_TEACHER)] = None
    """Write the teacher's logits to this folder instead of training."""
    top_k: Annotated[int | None, Option(section=_TEACHER, shown_default="10")] = None
    """With --store: number of logits to write for each image, the largest."""

    def run(self) -> None:
        started = time.monotonic()
        from ..errors import VitrailError

        for flag, given in (
            ("--out", self.out is not None),
            ("--beside", bool(self.beside)),
            ("--kind", self.kind != "soft"),
            ("--weight", self.weight != 0.5),
            ("--minutes", self.minutes is not None),
        ):
            if given and self.store is not None:
                raise VitrailError(f"{flag} is for training, and --store only writes a teacher's logits: leave it out")
        if self.top_k is not None and self.store is None:
            raise VitrailError("--top-k is for --store, which writes a teacher's logits: leave it out")
        to_stderr(f"reading {self.source}")  # before the imports, which take seconds on a slow machine
        from ..training.distill import changed_teacher, distilling
        from ..training.recipe_file import read_recipe
        from ..training.run import train

        recipe = self.with_options(read_recipe(self.recipe))
        if self.store is not None:
            self._store(recipe, self.store)
            return
        objective = distilling(recipe, self.teacher, kind=self.kind, temperature=self.temperature, weight=self.weight)
        if note := changed_teacher(objective):
            to_stderr(f"note: {note}")
        run = train(
            self.source,
            recipe,
            objective=objective,
            out=self.out,
            skip_bad=self.skip_bad,
            progress=visible,
            say=to_stderr,
            started=started,
        )
        print_result(run)

    def changes(self) -> dict[str, Any]:
        return {**super().changes(), "task": self.task}

    def _store(self, recipe: "Recipe", folder: Path) -> None:
        """Write the teacher's logits."""
        from ..errors import VitrailError
        from ..training.distill import store_logits

        epochs = recipe.epochs or 1.0
        if epochs != round(epochs):
            raise VitrailError(f"--epochs {epochs:g} to store: use a whole number")
        found = store_logits(
            self.teacher,
            self.source,
            folder,
            epochs=round(epochs),
            recipe=recipe,
            top_k=self.top_k,
            temperature=self.temperature,
            skip_bad=self.skip_bad,
            progress=visible,
        )
        print(f"{found}: the teacher of `vitrail distill {self.source} --teacher {found}`")
