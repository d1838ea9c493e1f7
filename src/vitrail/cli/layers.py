"""The command `vitrail study layers`."""

from dataclasses import dataclass
from typing import Literal

from .options import CheckpointArgument, LimitDrawn, OptionalOut, SourceArgument
from .results import print_results
from .study_options import HeldOutCommand


@dataclass(kw_only=True)
class Layers(HeldOutCommand):
    """Measure the accuracy of a linear probe on the output of each block.

    Linear probes are fitted on the training part and evaluated on the part chosen by --split; the logit lens applies
    the model's own head after every block.

    Examples:
        vitrail study layers runs/flowers flowers/
        vitrail study layers runs/flowers flowers/ --split val --limit all -o layers
    """

    checkpoint: CheckpointArgument
    source: SourceArgument
    limit: LimitDrawn = 500
    probe: Literal["ridge", "logistic"] = "ridge"
    """Kind of probe."""
    out: OptionalOut = None
    """CSV file to write, or folder for the CSV file and a page."""

    def run(self) -> None:
        from ..checkpoint.contract import load
        from ..pages.files import check_output
        from ..progress import visible
        from ..study.layers import LayerOptions, study_layers
        from ..study.layers_table import files

        check_output(self.out)
        options = self.held_out_options(LayerOptions(kind=self.probe))
        found = study_layers(load(self.checkpoint), self.source, options, progress=visible)
        print_results(files(found, self.checkpoint), self.out, {self.source: found.bad})
