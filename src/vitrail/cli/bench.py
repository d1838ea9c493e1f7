"""vitrail bench."""

import json
import sys
from dataclasses import dataclass
from typing import Literal

import tyro


@dataclass
class Bench:
    """Measure every attention against plain attention, on this machine: vitrail bench attention

    Prints the median milliseconds of one layer, projections included, how many times as fast as plain attention it is,
    and the sequence length from which on it is faster. All are measured in turn, so that what disturbs the machine
    disturbs all alike. Lengths are those of square grids: 14×14 = 196 tokens is a picture of 224 px in patches of 16.
    """

    what: tyro.conf.Positional[Literal["attention"]] = "attention"
    """What to measure."""
    dim: int = 192
    """Width of the tokens."""
    heads: int = 3
    """Heads; the width is a multiple of them."""
    max_length: int = 4096
    """Tokens of the longest sequence, 196 or more."""
    batch_size: int = 1
    """Pictures at once."""
    training: bool = False
    """Forward and backward, instead of forward alone."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""
    precision: str = "auto"
    """auto, float32, bfloat16 or float16."""
    minutes: float = 2.0
    """How long to measure, about; more gives steadier medians."""
    json: bool = False
    """Print JSON instead of a table."""

    def run(self) -> None:
        from ..bench.attention import bench_attention
        from ..bench.attention_table import bench_table, circumstances
        from ..progress import visible
        from ..tables import print_table

        found = bench_attention(
            dim=self.dim,
            num_heads=self.heads,
            max_length=self.max_length,
            batch_size=self.batch_size,
            training=self.training,
            device=self.device,
            precision=self.precision,
            minutes=self.minutes,
            progress=visible,
        )
        print(f"vitrail: {circumstances(found)}", file=sys.stderr)
        if self.json:
            print(json.dumps(found.to_dict(), ensure_ascii=False))
        else:
            print_table(*bench_table(found))
