"""vitrail predict."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass
class Predict:
    """Predict classes, numbers or vectors for images: vitrail predict runs/flowers garden/ -o table.csv

    Standard output is a table and nothing else: path, what the checkpoint predicts, error. Of a classifier that is
    class, probability, class_2, probability_2 and so on. A file that cannot be read is a row with an error.
    """

    checkpoint: tyro.conf.Positional[str]
    """A run, a checkpoint folder or file, or a hub id."""
    images: tyro.conf.Positional[list[str]]
    """Images, folders with images at any depth, or globs."""
    top_k: int = 5
    """Number of classes for each image."""
    format: Literal["csv", "jsonl", "parquet"] = "csv"
    """Of the table. Parquet needs --out."""
    limit: int | None = None
    """Stop after this many images."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """File to write; standard output by default."""
    batch_size: int = 32
    """Images per forward pass."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""
    precision: str = "auto"
    """auto, float32, bfloat16 or float16."""

    def run(self) -> None:
        from ..checkpoint.contract import load
        from ..engines.predictor import check_top_k, make_predictor
        from ..evaluation.predict import at_least_one, named_images, predict_samples
        from ..evaluation.prediction_table import Layout, write_table
        from ..progress import visible

        check_top_k(self.top_k)
        named = named_images(self.images, self.limit)
        predictor = make_predictor(
            load(self.checkpoint), batch_size=self.batch_size, device=self.device, precision=self.precision
        )
        predictions = predict_samples(predictor, named, top_k=self.top_k, progress=visible)
        layout = Layout(predictor.task, predictor.names, self.top_k)
        write_table(at_least_one(predictions), layout, self.format, self.out)
