"""The command `vitrail study attribution`."""

from dataclasses import dataclass
from pathlib import Path

from .options import BatchSize, CheckpointArgument, Out, SourceArgument
from .results import print_results
from .study_options import HeldOutCommand


@dataclass(kw_only=True)
class Attribution(HeldOutCommand):
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
    batch_size: BatchSize = 16
    out: Out = Path("attribution.csv")
    """CSV file to write, or folder for the CSV file and a page."""

    def run(self) -> None:
        from ..checkpoint.contract import load
        from ..lens.attribution.methods import METHODS, find_method
        from ..pages.files import check_output
        from ..progress import visible
        from ..study.attribution import AttributionOptions, evaluate_explanations
        from ..study.attribution_table import files

        check_output(self.out)
        methods = {name: find_method(name) for name in self.methods or METHODS}
        options = self.held_out_options(AttributionOptions(masks=self.masks))
        found = evaluate_explanations(load(self.checkpoint), self.source, methods, options, progress=visible)
        print_results(files(found, self.checkpoint), self.out, {self.source: found.bad})
