"""The command `vitrail study probe`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from .options import CheckpointArgument, LimitDrawn, Option, OptionalOut
from .results import print_results
from .study_options import HeldOutCommand


@dataclass(kw_only=True)
class Probe(HeldOutCommand):
    """Measure what the frozen features of a model are worth: kNN, linear and few-shot accuracy.

    Takes any checkpoint, also one that was pre-trained without labels. Probes are fitted on the training part of each
    source and scored on the part chosen by --split. Features are cached: a second call takes seconds.

    Examples:
        vitrail study probe runs/pretrained flowers/
        vitrail study probe timm/vit_small_patch14_dinov2.lvd142m flowers/ digits
        vitrail study probe runs/flowers flowers/ -o probes
        vitrail study probe runs/flowers flowers/ --layer blocks.6 --pool mean
    """

    checkpoint: CheckpointArgument
    sources: Annotated[
        list[str],
        Option(
            "Labelled images: class folders, a CSV, tar shards, or a named data set; several give a table.",
            "SOURCE",
            positional=True,
        ),
    ]
    layer: Annotated[str | None, Option(metavar="NAME", shown_default="the model's embedding")] = None
    """Module whose output is probed, such as blocks.6."""
    pool: Literal["auto", "class", "mean"] = "auto"
    """Of the tokens of --layer: the class token, or the mean of the patches. auto: the class token, if there is one."""
    limit: LimitDrawn = 5000
    out: OptionalOut = None
    """CSV file, or folder for a CSV file and a page."""

    def run(self) -> None:
        from ..checkpoint.contract import load
        from ..pages.files import check_output
        from ..progress import visible
        from ..study.probe import ProbeOptions, study_probe
        from ..study.probe_table import files

        check_output(self.out)
        options = self.held_out_options(ProbeOptions(layer=self.layer, pool=self.pool))
        found = study_probe(load(self.checkpoint), self.sources, options, progress=visible)
        print_results(files(found, self.checkpoint), self.out, {source.name: source.bad for source in found.sources})
