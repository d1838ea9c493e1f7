"""The command `vitrail study attribution`."""

from dataclasses import dataclass
from pathlib import Path

from .options import (
    CheckpointArgument,
    Device,
    LimitDrawn,
    Out,
    Precision,
    Seed,
    SkipBad,
    SourceArgument,
    Split,
    Strict,
    drawn_limit,
)
from .results import print_study


@dataclass
class Attribution:
    """Measure the faithfulness of attribution methods on labelled images, with random and centred maps as baselines.

    Deletion, insertion and a sanity check for each method; with --masks also how well its maps locate the object.

    Examples:
        vitrail study attribution runs/flowers flowers/ --masks masks/
    """

    checkpoint: CheckpointArgument
    source: SourceArgument
    methods: tuple[str, ...] = ()
    """Methods to evaluate, by default all; docs/attribution.md lists them."""
    masks: Path | None = None
    """Folder with a mask of each image's object, white on black, under the image's name."""
    split: Split = "auto"
    limit: LimitDrawn = 200
    skip_bad: SkipBad = False
    strict: Strict = True
    device: Device = "auto"
    precision: Precision = "auto"
    seed: Seed = 0
    out: Out = Path("attribution.csv")
    """CSV file to write, or folder for the CSV file and a page."""

    def run(self) -> None:
        from ..checkpoint.contract import load
        from ..data.bad_files import left_out
        from ..lens.attribution.methods import METHODS, find_method
        from ..progress import visible
        from ..study.attribution import evaluate_explanations
        from ..study.attribution_table import files
        from ..study.files import check_output

        check_output(self.out)
        methods = {name: find_method(name) for name in self.methods or METHODS}
        found = evaluate_explanations(
            load(self.checkpoint),
            self.source,
            methods,
            masks=self.masks,
            split=self.split,
            limit=drawn_limit(self.limit),
            skip_bad=self.skip_bad,
            strict=self.strict,
            device=self.device,
            precision=self.precision,
            seed=self.seed,
            progress=visible,
        )
        print_study(files(found, self.checkpoint), self.out, left_out(found.bad, self.source))
