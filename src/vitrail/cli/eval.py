"""vitrail eval."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass
class Eval:
    """Score a checkpoint on labelled pictures: vitrail eval runs/flowers flowers/

    Classes are matched by name. Of a source without parts of its own, the pictures that the run learned from
    are left out, recognised by their content.
    """

    checkpoint: tyro.conf.Positional[str]
    """A run, a checkpoint folder or file, or a hub id."""
    source: tyro.conf.Positional[str]
    """A folder with a folder for each class, a CSV, tar shards, or a named set."""
    split: Literal["auto", "train", "val", "test", "all"] = "auto"
    """Which part of the source; auto: test, or val, or all that was not trained on."""
    batch_size: int = 32
    """Pictures a forward pass."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""
    precision: str = "auto"
    """auto, float32, bfloat16 or float16."""
    skip_bad: bool = False
    """Leave out files that cannot be read, instead of stopping."""
    json: bool = False
    """Print JSON on standard output, and nothing else there."""
    output: Path | None = None
    """Write the JSON to this file too."""

    def run(self) -> None:
        from ..evaluation.evaluate import evaluate
        from ..evaluation.summary import summary
        from ..progress import visible

        found = evaluate(
            self.checkpoint,
            self.source,
            split=self.split,
            batch_size=self.batch_size,
            device=self.device,
            precision=self.precision,
            skip_bad=self.skip_bad,
            progress=visible,
        )
        text = json.dumps(found.to_dict(), ensure_ascii=False)
        if self.output:
            self.output.write_text(text + "\n", encoding="utf-8")
        print(f"vitrail: scored {found.note}", file=sys.stderr)
        print(text if self.json else summary(found))
