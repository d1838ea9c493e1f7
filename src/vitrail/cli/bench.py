"""The command `vitrail bench`."""

import json
from dataclasses import dataclass
from typing import Annotated, Literal

from .options import COMPUTE, Device, Json, Option, Precision
from .results import print_note


@dataclass
class Bench:
    """Compare the speed of every kind of attention layer with full attention on this machine.

    Prints the median milliseconds of one layer (projections included), its speed-up over full attention, and the
    sequence length from which it is faster. The layers are measured in turn, so that other load on the machine affects
    all of them equally. Lengths are those of square grids: 14×14 = 196 tokens are an image of 224 pixels with patches
    of 16.

    Examples:
        vitrail bench attention
        vitrail bench attention --dim 384 --heads 6 --training
    """

    what: Annotated[Literal["attention"], Option(positional=True, metavar="WHAT")] = "attention"
    """Benchmark to run: attention."""
    dim: int = 192
    """Width of a token."""
    heads: int = 3
    """Number of heads; it must divide the width."""
    max_length: int = 4096
    """Tokens in the longest sequence, at least 196."""
    training: bool = False
    """Measure forward and backward passes instead of forward only."""
    minutes: Annotated[float, Option(metavar="MINUTES")] = 2.0
    """Approximate time to spend; more time gives more stable medians."""
    batch_size: Annotated[int, Option(section=COMPUTE)] = 1
    """Sequences in one forward pass."""
    device: Device = "auto"
    precision: Precision = "auto"
    json: Json = False

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
        print_note(circumstances(found))
        if self.json:
            print(json.dumps(found.to_dict(), ensure_ascii=False))
        else:
            print_table(*bench_table(found))
