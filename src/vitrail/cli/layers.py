"""The command `vitrail study layers`."""

from dataclasses import dataclass
from typing import Literal

from .options import (
    BatchSize,
    CheckpointArgument,
    Device,
    LimitDrawn,
    OptionalOut,
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
class Layers:
    """Measure the accuracy of a linear probe on the output of each block.

    Linear probes are fitted on the training part and evaluated on the part chosen by --split; the logit lens applies
    the model's own head after every block.

    Examples:
        vitrail study layers runs/flowers flowers/
        vitrail study layers runs/flowers flowers/ --split val --limit all -o layers
    """

    checkpoint: CheckpointArgument
    source: SourceArgument
    split: Split = "auto"
    limit: LimitDrawn = 500
    skip_bad: SkipBad = False
    strict: Strict = True
    probe: Literal["ridge", "logistic"] = "ridge"
    """Kind of probe."""
    batch_size: BatchSize = 32
    device: Device = "auto"
    precision: Precision = "auto"
    seed: Seed = 0
    out: OptionalOut = None
    """CSV file to write, or folder for the CSV file and a page."""

    def run(self) -> None:
        from ..checkpoint.contract import load
        from ..data.bad_files import left_out
        from ..progress import visible
        from ..study.files import check_output
        from ..study.layers import study_layers
        from ..study.layers_table import files

        check_output(self.out)
        found = study_layers(
            load(self.checkpoint),
            self.source,
            split=self.split,
            limit=drawn_limit(self.limit),
            skip_bad=self.skip_bad,
            strict=self.strict,
            kind=self.probe,
            batch_size=self.batch_size,
            device=self.device,
            precision=self.precision,
            seed=self.seed,
            progress=visible,
        )
        print_study(files(found, self.checkpoint), self.out, left_out(found.bad, self.source))
