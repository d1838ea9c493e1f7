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
    Json,
    Option,
    OptionalOut,
    Precision,
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
    """

    checkpoint: CheckpointArgument
    source: SourceArgument
    split: Split = "auto"
    batch_size: BatchSize = 32
    engine: Engine = "auto"
    device: Device = "auto"
    precision: Precision = "auto"
    tta: Tta = "none"
    skip_bad: SkipBad = False
    strict: Strict = True
    json: Json = False
    out: OptionalOut = None
    """JSON file to write, in addition to the printed output."""
    rows: Annotated[Path | None, Option(metavar="FILE", section=OUTPUT)] = None
    """Table of each image with its prediction and true label: .csv, .tsv, .json, .jsonl, .parquet or .xlsx."""

    def run(self) -> None:
        from ..checkpoint.contract import load
        from ..engines.predictor import output_names
        from ..evaluation.evaluate import evaluate
        from ..evaluation.prediction_table import Layout, open_table, table_format
        from ..progress import visible
        from ..tasks.registry import resolve

        if self.rows:
            table_format(None, self.rows)
        if self.out:
            check_file(self.out)
        checkpoint = load(self.checkpoint)
        task = resolve(checkpoint.task)
        layout = Layout(task, output_names(checkpoint), 5, labelled=True)
        with open_table(layout, None, self.rows) if self.rows else nullcontext() as add:
            found = evaluate(
                checkpoint,
                self.source,
                split=self.split,
                batch_size=self.batch_size,
                engine=self.engine,
                device=self.device,
                precision=self.precision,
                tta=self.tta,
                skip_bad=self.skip_bad,
                strict=self.strict,
                each=add,
                progress=visible,
            )
        text = json_text(found.to_dict())
        if self.out:
            make_parent(self.out)
            write_text(self.out, text + "\n")
        print_left_out({self.source: found.bad})
        print_note(f"scored {found.note}")
        print(text if self.json else task.summary(found))
