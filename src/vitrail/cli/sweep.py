"""The command `vitrail sweep`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from .options import Option, Out, SourceArgument
from .results import print_results
from .training_options import LENGTH, TrainingOptions


@dataclass(kw_only=True)
class Sweep(TrainingOptions):
    """Train with every combination of values of some fields of the recipe or of the model.

    A sweep that was stopped goes on when its command is repeated.

    Examples:
        vitrail sweep flowers/ --over muon_lr=0.01,0.02 dropout=0,0.1 --minutes 40
        vitrail sweep digits --over muon_lr=0.01,0.02 --epochs 5 -o sweeps/digits
    """

    source: SourceArgument
    over: Annotated[list[str], Option(metavar="FIELD=VALUE,VALUE")] = field(default_factory=list)
    """Fields and their values, such as muon_lr=0.01,0.02 overrides.patch_size=8,16."""
    task: Annotated[str | None, Option(shown_default="from the labels")] = None
    """Task of the labels, see `vitrail train`."""
    recipe: str = "default"
    """The other settings, see `vitrail train`."""
    epochs: Annotated[float | None, Option(section=LENGTH)] = None
    """Epochs of each run."""
    minutes: Annotated[float | None, Option(section=LENGTH)] = None
    """Time of all runs together, shared equally; with --epochs no run begins after it."""
    out: Out = Path("sweep")
    """Folder for the runs, sweep.html and sweep.csv."""

    def run(self) -> None:
        from ..progress import to_stderr, visible
        from ..study.sweep import best_command, sweep
        from ..study.sweep_page import files, sweep_table
        from ..tables import print_table
        from ..training.recipe_file import read_recipe

        found = sweep(
            self.source,
            self.over,
            self.out,
            self.with_options(read_recipe(self.recipe), self.source),
            minutes=self.minutes,
            epochs=self.epochs,
            skip_bad=self.skip_bad,
            progress=visible,
            say=to_stderr,
        )
        if not found.ranking:
            print_table(*sweep_table(found))
        best = found.best  # raises if no run has a result
        command = best_command(found, self._options(best.trial.recipe.minutes), self.set)
        print_results(files(found, command), self.out, {})
        print(f"best: {best.trial.name}\n  {command}")

    def changes(self) -> dict[str, Any]:
        return {**super().changes(), "task": self.task, "epochs": None, "minutes": None}

    def _options(self, minutes: float | None) -> list[str]:
        """Words of `vitrail train` for what all runs share."""
        given = {
            "--recipe": None if self.recipe == "default" else self.recipe,
            "--epochs": None if self.epochs is None else f"{self.epochs:g}",
            "--minutes": None if minutes is None or self.epochs is not None else f"{minutes:g}",
        }
        words = [word for flag, value in given.items() if value is not None for word in (flag, value)]
        return [*words, *self.words()]
