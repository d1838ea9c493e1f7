"""The command `vitrail study probe`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from .options import (
    BatchSize,
    CheckpointArgument,
    Device,
    LimitDrawn,
    Option,
    OptionalOut,
    Precision,
    Seed,
    SkipBad,
    Split,
    Strict,
    drawn_limit,
)
from .results import print_study


@dataclass
class Probe:
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
    split: Split = "auto"
    limit: LimitDrawn = 5000
    skip_bad: SkipBad = False
    strict: Strict = True
    batch_size: BatchSize = 32
    device: Device = "auto"
    precision: Precision = "auto"
    seed: Seed = 0
    out: OptionalOut = None
    """CSV file, or folder for a CSV file and a page."""

    def run(self) -> None:
        from ..checkpoint.contract import load
        from ..data.bad_files import left_out
        from ..progress import visible
        from ..study.files import check_output
        from ..study.probe import study_probe
        from ..study.probe_table import files

        check_output(self.out)
        found = study_probe(
            load(self.checkpoint),
            self.sources,
            layer=self.layer,
            pool=self.pool,
            split=self.split,
            limit=drawn_limit(self.limit),
            skip_bad=self.skip_bad,
            strict=self.strict,
            batch_size=self.batch_size,
            device=self.device,
            precision=self.precision,
            seed=self.seed,
            progress=visible,
        )
        bad = [line for source in found.sources for line in left_out(source.bad, source.name)]
        print_study(files(found, self.checkpoint), self.out, bad)
