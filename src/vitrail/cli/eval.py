"""The command `vitrail eval`."""

import sys
from dataclasses import dataclass

from ..json_text import json_text
from .options import BatchSize, CheckpointArgument, Device, Json, OptionalOut, Precision, SourceArgument, Split


@dataclass
class Eval:
    """Evaluate a checkpoint on labelled images.

    Classes, or the columns of a regression, are matched by name. If the source has no split of its own, images that the
    run was trained on are recognised by content and left out.

    Examples:
        vitrail eval runs/flowers flowers/
        vitrail eval runs/flowers flowers/ --split all --json
    """

    checkpoint: CheckpointArgument
    source: SourceArgument
    split: Split = "auto"
    batch_size: BatchSize = 32
    device: Device = "auto"
    precision: Precision = "auto"
    skip_bad: bool = False
    """Skip files that cannot be read instead of stopping."""
    json: Json = False
    out: OptionalOut = None
    """JSON file to write, in addition to the printed output."""

    def run(self) -> None:
        from ..checkpoint.contract import load
        from ..evaluation.evaluate import evaluate
        from ..progress import visible
        from ..tasks.registry import resolve

        checkpoint = load(self.checkpoint)
        found = evaluate(
            checkpoint,
            self.source,
            split=self.split,
            batch_size=self.batch_size,
            device=self.device,
            precision=self.precision,
            skip_bad=self.skip_bad,
            progress=visible,
        )
        text = json_text(found.to_dict())
        if self.out:
            self.out.write_text(text + "\n", encoding="utf-8", errors="replace")
        print(f"vitrail: scored {found.note}", file=sys.stderr)
        print(text if self.json else resolve(checkpoint.task).summary(found))
