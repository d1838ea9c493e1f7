"""vitrail predict."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass
class Predict:
    """Predict the classes of pictures: vitrail predict runs/flowers garden/ --output table.csv

    Standard output is a table and nothing else: path, class, probability, class_2, probability_2 and so on,
    error. A file that cannot be read is a row with an error.
    """

    checkpoint: tyro.conf.Positional[str]
    """A run, a checkpoint folder or file, or a hub id."""
    images: tyro.conf.Positional[list[str]]
    """Pictures, folders with pictures at any depth, or globs."""
    top_k: int = 5
    """How many classes for each picture."""
    format: Literal["csv", "jsonl", "parquet"] = "csv"
    """Of the table. Parquet needs --output."""
    limit: int | None = None
    """Stop after this many pictures."""
    output: Path | None = None
    """File to write; standard output by default."""
    batch_size: int = 32
    """Pictures a forward pass."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""
    precision: str = "auto"
    """auto, float32, bfloat16 or float16."""

    def run(self) -> None:
        from ..evaluation.predict import at_least_one, predict
        from ..evaluation.prediction_table import write_table
        from ..progress import visible

        predictions = predict(
            self.checkpoint,
            self.images,
            top_k=self.top_k,
            limit=self.limit,
            batch_size=self.batch_size,
            device=self.device,
            precision=self.precision,
            progress=visible,
        )
        write_table(at_least_one(predictions), self.top_k, self.format, self.output)
