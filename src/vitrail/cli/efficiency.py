"""The commands `vitrail study data-efficiency` and `vitrail study scaling`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from .options import COMPUTE, Option, OptionalOut, Out, SourceArgument
from .results import print_results
from .training_options import LENGTH, RecipeOptions


@dataclass(kw_only=True)
class DataEfficiency(RecipeOptions):
    """Measure the accuracy of a ViT, a hybrid and a CNN against the number of training images.

    Every run has the same FLOPs of training. The page has the curves with intervals, how many times as many images the
    first model needs for the accuracy of the others, and scaling laws. A study that was stopped goes on when its
    command is repeated.

    Examples:
        vitrail study data-efficiency flowers/ --minutes 120 -o flowers-data
        vitrail study data-efficiency cifar10 --models compact_small_32,resnet18
    """

    source: SourceArgument
    models: Annotated[list[str], Option(metavar="VARIANT")] = field(default_factory=list)
    """Models, as VARIANT or VARIANT:field=value; the first is compared with the others. By default all three kinds."""
    fractions: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 1.0)
    """Fractions of the training images."""
    seeds: int = 3
    """Number of seeds."""
    epochs: Annotated[float | None, Option(section=LENGTH)] = None
    """Epochs of the first model on all images; all runs have the FLOPs of this one."""
    minutes: Annotated[float | None, Option(section=LENGTH, shown_default="60")] = None
    """Approximate time of all runs together, in place of --epochs."""
    seed: Annotated[int, Option(section=COMPUTE)] = 0
    """The first seed; a seed is that of the weights, the augmentation and the choice of images."""
    out: Out = Path("data-efficiency")
    """Folder for the runs, data-efficiency.html, curves.csv and factors.csv."""

    def run(self) -> None:
        from ..progress import to_stderr, visible
        from ..study.efficiency import EfficiencyOptions, study_efficiency
        from ..study.efficiency_page import factor_table, files
        from ..tables import print_table

        options = EfficiencyOptions(
            models=tuple(name for text in self.models for name in text.split(",")),
            fractions=self.fractions,
            seeds=self.seeds,
            epochs=self.epochs,
            minutes=60.0 if self.minutes is None and self.epochs is None else self.minutes,
            image_size=self.image_size,
            batch_size=self.batch_size,
            device=self.device,
            precision=self.precision,
            settings=tuple(self.set),
            seed=self.seed,
            skip_bad=self.skip_bad,
            strict=self.strict,
        )
        found = study_efficiency(self.source, self.out, options, progress=visible, say=to_stderr)
        print_results(files(found), self.out, {self.source: found.bad})
        headers, factors = factor_table(found)
        if factors:
            print()
            print_table(headers, factors)


@dataclass
class Scaling:
    """Fit a saturating power law to the errors of your own runs.

    Examples:
        vitrail study scaling runs/quarter runs/half runs/whole -o scaling
        vitrail study scaling runs/* --against parameters -o scaling
    """

    runs: Annotated[list[Path], Option(metavar="RUN", positional=True)]
    """Finished runs that differ in size."""
    against: Literal["images", "parameters", "flops"] = "images"
    """Size of a run: its training images, parameters, or FLOPs of a forward pass."""
    out: OptionalOut = None
    """CSV file to write, or folder for the CSV file and a page."""

    def run(self) -> None:
        from ..pages.files import check_output
        from ..study.scaling_page import SCALING_HEADERS, files, scaling_of_runs, scaling_row
        from ..tables import print_table

        check_output(self.out)
        fit, found = scaling_of_runs(self.runs, self.against)
        print_results(files(fit, self.runs, found, self.against), self.out, {})
        print()
        print_table(["", "fit"], [list(pair) for pair in zip(SCALING_HEADERS, scaling_row(fit), strict=True)])
