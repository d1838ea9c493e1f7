"""The command `vitrail study retrieval`."""

from dataclasses import dataclass
from typing import Annotated

from .options import CheckpointArgument, LimitDrawn, Option, OptionalOut, SourceArgument
from .results import print_results
from .study_options import HeldOutCommand


@dataclass(kw_only=True)
class Retrieval(HeldOutCommand):
    """Measure how often images find their caption, and captions their image.

    R@k is the fraction of queries for which a right candidate is among the first k by similarity. Equal captions are
    one candidate.

    Examples:
        vitrail study retrieval runs/pairs pairs.csv
        vitrail study retrieval runs/scenes scenes --among 32 -o retrieval
    """

    checkpoint: CheckpointArgument
    source: SourceArgument
    limit: LimitDrawn = "all"
    among: Annotated[int | None, Option(metavar="N", shown_default="all")] = None
    """Candidates of each query: a right one, and N - 1 wrong ones drawn at random."""
    out: OptionalOut = None
    """CSV file to write, or folder for the CSV files and a page."""

    def run(self) -> None:
        from ..checkpoint.contract import load
        from ..pages.files import check_output
        from ..progress import visible
        from ..study.retrieval import RetrievalOptions, study_retrieval
        from ..study.retrieval_table import files

        check_output(self.out)
        options = self.held_out_options(RetrievalOptions(among=self.among))
        found = study_retrieval(load(self.checkpoint), self.source, options, progress=visible)
        print_results(files(found, self.checkpoint), self.out, {self.source: found.bad})
