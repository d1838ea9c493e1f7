"""The commands `vitrail bench attention` and `vitrail bench models`."""

import json
from dataclasses import dataclass, field
from typing import Annotated

from .options import COMPUTE, Device, Json, Option, OptionalOut, Precision
from .results import print_note, print_results


@dataclass
class BenchModels:
    """Compare the speed of whole models and engines with other libraries on this machine.

    Every engine runs the models beside timm, transformers and torchvision, as far as they are installed: the same
    architecture with the same weights, in PyTorch, compiled, and through OpenVINO and ONNX Runtime. All run in turn,
    once in each round; what gives other outputs is listed as failed. The table has the median time of a batch and its
    quartiles, the ratio to the first other library in eager float32, and the share of the speed of a large matrix
    product.

    Examples:
        vitrail bench models vit_small_patch16_224 --batch-sizes 1 8
        vitrail bench models runs/flowers --engines openvino --against timm -o bench/
    """

    models: Annotated[list[str], Option(metavar="NAME|CHECKPOINT", positional=True)] = field(
        default_factory=lambda: ["vit_tiny_patch16_224"]
    )
    """Variants, which get random weights, and checkpoints."""
    engines: tuple[str, ...] = ("torch", "compiled", "openvino", "onnxruntime")
    """What runs the models, see --engine of `vitrail predict`."""
    against: Annotated[tuple[str, ...], Option(metavar="LIBRARY")] = ("timm", "transformers", "torchvision")
    """Other libraries, the first of which is what ratios refer to."""
    seconds: Annotated[float, Option(metavar="SECONDS")] = 20.0
    """Time for the rounds of one model with one batch size and one number of threads; at least three rounds are run."""
    batch_sizes: Annotated[tuple[int, ...], Option(section=COMPUTE)] = (1, 8)
    """Images in one forward pass."""
    threads: Annotated[tuple[int, ...], Option(section=COMPUTE, shown_default="all cores")] = ()
    """Numbers of CPU threads."""
    precisions: Annotated[tuple[str, ...], Option(metavar="FORMAT", section=COMPUTE)] = ("float32", "auto")
    """Number formats of the matrix products; auto: bfloat16 if the hardware supports it."""
    device: Device = "auto"
    out: OptionalOut = None
    """CSV file of the measurements, or folder for it and a page."""

    def run(self) -> None:
        from ..bench.models import ModelBenchOptions, bench_models
        from ..bench.models_page import files
        from ..pages.files import check_output
        from ..progress import visible

        check_output(self.out)
        options = ModelBenchOptions(
            engines=self.engines,
            against=self.against,
            batch_sizes=self.batch_sizes,
            threads=self.threads,
            precisions=self.precisions,
            device=self.device,
            seconds=self.seconds,
        )
        print_results(files(bench_models(self.models, options, progress=visible)), self.out, {})


@dataclass
class BenchAttention:
    """Compare the speed of every kind of attention layer with full attention on this machine.

    Prints the median milliseconds of one layer (projections included), its speed-up over full attention, and the
    sequence length from which it is faster. The layers are measured in turn, so that other load on the machine affects
    all of them equally. Lengths are those of square grids: 14×14 = 196 tokens are an image of 224 pixels with patches
    of 16.

    Examples:
        vitrail bench attention
        vitrail bench attention --dim 384 --heads 6 --training
    """

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
