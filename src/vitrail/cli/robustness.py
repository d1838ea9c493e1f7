"""The command `vitrail study robustness`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from .options import CheckpointArgument, Option, Out, SourceArgument
from .results import print_results
from .study_options import HeldOutCommand


@dataclass(kw_only=True)
class Robustness(HeldOutCommand):
    """Measure the robustness of a model, or compare two.

    Accuracy on held-out images: clean, with fifteen corruptions, under adversarial attacks, as sketches, shifted; and
    calibration. --masks adds images whose shape and texture belong to different classes.

    Examples:
        vitrail study robustness runs/flowers flowers/
        vitrail study robustness runs/vit flowers/ --against runs/cnn
    """

    checkpoint: CheckpointArgument
    source: SourceArgument
    against: Annotated[str | None, Option(metavar="CHECKPOINT")] = None
    """Second checkpoint, for example a CNN; corruption errors are then relative to it."""
    tests: tuple[Literal["corruption", "adversarial", "sketch", "shift", "calibration"], ...] = (
        "corruption",
        "adversarial",
        "sketch",
        "shift",
        "calibration",
    )
    """Tests in addition to the clean accuracy; --masks adds the cue conflict test."""
    severities: tuple[int, ...] = (1, 3, 5)
    """Severities of the corruptions, from 1 to 5."""
    epsilons: Annotated[tuple[float, ...], Option(metavar="EPSILON")] = (1.0, 4.0)
    """Largest change of a pixel value under attack, in 1/255."""
    steps: int = 10
    """Steps of the PGD attack."""
    masks: Path | None = None
    """Folder with a mask of the object, white on black, for each image, under the image's file name."""
    out: Out = Path("robustness.csv")
    """CSV file to write, with results for every severity, or folder for the CSV file and a page."""

    def run(self) -> None:
        from ..checkpoint.contract import load
        from ..pages.files import check_output
        from ..progress import visible
        from ..study.robustness import RobustnessOptions, study_robustness
        from ..study.robustness_table import files

        check_output(self.out)
        options = RobustnessOptions(
            tests=(*self.tests, "conflict") if self.masks else self.tests,
            severities=self.severities,
            epsilons=self.epsilons,
            steps=self.steps,
            masks=self.masks,
        )
        names = [self.checkpoint, *([self.against] if self.against else [])]
        options = self.held_out_options(options)
        found = study_robustness([load(name) for name in names], self.source, options, progress=visible)
        print_results(files(found, names), self.out, {self.source: found.bad})
