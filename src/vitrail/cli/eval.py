"""vitrail eval."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass
class Eval:
    """Score a checkpoint on labelled images: vitrail eval runs/flowers flowers/

    Classes, or the columns of a regression, are matched by name. If the source has no test or validation part of its
    own, the images that the run was trained on are left out, recognised by their content.
    """

    checkpoint: tyro.conf.Positional[str]
    """A run, a checkpoint folder or file, or a hub id."""
    source: tyro.conf.Positional[str]
    """A folder with a folder for each class, a CSV, tar shards, or a named set."""
    split: Literal["auto", "train", "val", "test", "all"] = "auto"
    """Which part of the source; auto: test, or val, or all that was not trained on."""
    batch_size: int = 32
    """Images per forward pass."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""
    precision: str = "auto"
    """auto, float32, bfloat16 or float16."""
    skip_bad: bool = False
    """Leave out files that cannot be read, instead of stopping."""
    json: bool = False
    """Print JSON on standard output, and nothing else there."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Write the JSON to this file too."""

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
        text = json.dumps(found.to_dict(), ensure_ascii=False)
        if self.out:
            self.out.write_text(text + "\n", encoding="utf-8")
        print(f"vitrail: scored {found.note}", file=sys.stderr)
        print(text if self.json else resolve(checkpoint.task).summary(found))
