"""vitrail study."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from .anatomy import Anatomy
from .attribution import Attribution


@dataclass
class Robustness:
    """What a model bears, beside a second one: vitrail study robustness runs/flowers flowers/ --against runs/cnn

    Accuracy on pictures that were not learned from: as they are, damaged in fifteen ways, made to mislead, drawn,
    shifted; and how far the model's confidence can be believed. --masks adds pictures whose shape and texture disagree.
    """

    checkpoint: tyro.conf.Positional[str]
    """A run, a checkpoint folder or file, or a hub id."""
    source: tyro.conf.Positional[str]
    """A folder with a folder for each class, a CSV, tar shards, or a named set."""
    against: str | None = None
    """A second checkpoint, for example a CNN; corruption errors are then relative to it."""
    limit: int | Literal["all"] = 200
    """At most so many pictures, drawn by seed, or all."""
    tests: tuple[Literal["corruption", "adversarial", "sketch", "shift", "calibration"], ...] = (
        "corruption",
        "adversarial",
        "sketch",
        "shift",
        "calibration",
    )
    """What to measure, beside the clean accuracy; --masks adds the cue conflict."""
    severities: tuple[int, ...] = (1, 3, 5)
    """Of the corruptions: some of 1 to 5."""
    epsilons: tuple[float, ...] = (1.0, 4.0)
    """Of the attacks: the most that a value changes, in 1/255."""
    steps: int = 10
    """Of PGD."""
    masks: Path | None = None
    """A folder with the object of each picture, white on black, under the picture's own name."""
    split: Literal["auto", "train", "val", "test", "all"] = "auto"
    """Which part of the source; auto: test, or val, or all that was not trained on."""
    batch_size: int = 32
    """Pictures a forward pass."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""
    seed: int = 0
    """Of everything that is drawn."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("robustness.csv")
    """The table as CSV, with every severity."""

    def run(self) -> None:
        from ..checkpoint.contract import load
        from ..machine.facts import pick_device
        from ..progress import visible
        from ..study.robustness import Options, study_robustness
        from ..study.robustness_table import check_output, table, write_csv
        from ..tables import print_table

        check_output(self.output)
        options = Options(
            tests=(*self.tests, "conflict") if self.masks else self.tests,
            severities=self.severities,
            epsilons=self.epsilons,
            steps=self.steps,
            limit=None if self.limit == "all" else self.limit,
            split=self.split,
            masks=self.masks,
            batch_size=self.batch_size,
            device=pick_device(self.device),
            seed=self.seed,
        )
        names = [self.checkpoint, *([self.against] if self.against else [])]
        found = study_robustness([load(name) for name in names], self.source, options, progress=visible)
        write_csv(found, names, self.output)
        _say(
            *found.notes,
            "± is the standard error over pictures",
            f"written to {self.output}",
        )
        print_table(*table(found, names))


@dataclass
class Layers:
    """What a model knows after each block: vitrail study layers runs/flowers flowers/

    Linear probes learn from the train part and are scored on the held-out part; the logit lens puts the model's own
    head behind every block.
    """

    checkpoint: tyro.conf.Positional[str]
    """A run, a checkpoint folder or file, or a hub id."""
    source: tyro.conf.Positional[str]
    """A folder with a folder for each class, a CSV, tar shards, or a named set."""
    limit: int | Literal["all"] = 500
    """At most so many pictures of each part, drawn by seed, or all."""
    probe: Literal["ridge", "logistic"] = "ridge"
    """The classifier that is fitted on features."""
    batch_size: int = 32
    """Pictures a forward pass."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""
    seed: int = 0
    """Of everything that is drawn."""

    def run(self) -> None:
        from ..checkpoint.contract import load
        from ..machine.facts import pick_device
        from ..progress import visible
        from ..study.layers import study_layers, table
        from ..tables import print_table

        found = study_layers(
            load(self.checkpoint),
            self.source,
            limit=None if self.limit == "all" else self.limit,
            kind=self.probe,
            batch_size=self.batch_size,
            device=pick_device(self.device),
            seed=self.seed,
            progress=visible,
        )
        _say(*found.notes)
        print_table(*table(found))


def _say(*notes: str) -> None:
    print("\n".join(f"vitrail: {note}" for note in notes), file=sys.stderr)


Study = (
    Annotated[Robustness, tyro.conf.subcommand("robustness")]
    | Annotated[Layers, tyro.conf.subcommand("layers")]
    | Annotated[Anatomy, tyro.conf.subcommand("anatomy")]
    | Annotated[Attribution, tyro.conf.subcommand("attribution")]
)
"""What is studied."""
