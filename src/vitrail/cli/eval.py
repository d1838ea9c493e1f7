"""The command `vitrail eval`."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ..json_text import json_text
from ..tables import check_file, make_parent, write_text
from .options import (
    OUTPUT,
    BatchSize,
    CheckpointArgument,
    Device,
    Engine,
    EnginePrecision,
    Json,
    Option,
    OptionalOut,
    Prompts,
    SkipBad,
    SourceArgument,
    Split,
    Strict,
    Tta,
)
from .results import print_left_out, print_note


@dataclass
class Eval:
    """Evaluate a checkpoint on labelled images.

    Classes, or the columns of a regression, are matched by name. If the source has no split of its own, images that the
    run was trained on are recognised by content and left out.

    Examples:
        vitrail eval runs/flowers flowers/
        vitrail eval runs/flowers flowers/ --split all --json
        vitrail eval runs/flowers flowers/ --rows predictions.xlsx
        vitrail eval openai/clip-vit-base-patch32 flowers/ --zero-shot
    """

    checkpoint: CheckpointArgument
    source: SourceArgument
    split: Split = "auto"
    batch_size: BatchSize = 32
    engine: Engine = "auto"
    device: Device = "auto"
    precision: EnginePrecision = "auto"
    tta: Tta = "none"
    zero_shot: bool = False
    """A model of images and texts, such as CLIP, chooses among the names of the source's classes."""
    prompts: Prompts = None
    skip_bad: SkipBad = False
    strict: Strict = True
    json: Json = False
    out: OptionalOut = None
    """JSON file to write, in addition to the printed output."""
    rows: Annotated[Path | None, Option(metavar="FILE", section=OUTPUT)] = None
    """Table of each image with its prediction and true label: .csv, .tsv, .json, .jsonl, .parquet or .xlsx."""

    def run(self) -> None:
        from ..engines.zero_shot import read_templates
        from ..evaluation.evaluate import examination
        from ..evaluation.prediction_table import Layout, open_table, table_format
        from ..progress import visible

        if self.rows:
            table_format(None, self.rows)
        if self.out:
            check_file(self.out)
        examined = examination(
            self.checkpoint,
            self.source,
            zero_shot=self.zero_shot,
            templates=() if self.prompts is None else read_templates(self.prompts),
            strict=self.strict,
            batch_size=self.batch_size,
            engine=self.engine,
            device=self.device,
            precision=self.precision,
            tta=self.tta,
        )
        task = examined.predictor.task
        layout = Layout(task, examined.predictor.names, 5, labelled=True)
        with open_table(layout, None, self.rows) if self.rows else nullcontext() as add:
            found = examined.score(self.split, skip_bad=self.skip_bad, each=add, progress=visible)
        text = json_text(found.to_dict())
        if self.out:
            make_parent(self.out)
            write_text(self.out, text + "\n")
        print_left_out({self.source: found.bad})
        print_note(f"scored {found.note}")
        print(text if self.json else task.summary(found))
