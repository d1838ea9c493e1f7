"""What a map costs, in forward passes of the same model and batch.

    python benchmarks/attribution.py [--model vit_base_patch16_224] [--batch 1 8] [--rounds 7] [METHOD ...]

A round makes one forward pass and one map of each method in turn, in one process; printed are medians and their ratio.
Quote the ratios: absolute times drift. Weights are random but for their size, so that attention is not uniform: a flow
is harder to prove then.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from vitrail.lens.attribution.methods import METHODS
from vitrail.models.registry import create_model

CHEAP = ("rollout", "generic", "lrp", "grad_cam", "input_gradient", "flow")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=CHEAP, help=f"some of {', '.join(METHODS)}")
    parser.add_argument("--model", default="vit_base_patch16_224")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    model = create_model(options.model).to(options.device).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("qkv.weight"):
            nn.init.normal_(parameter, std=0.06)
    print(f"{options.model}, {options.device}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    for batch in options.batch:
        compare(model, batch, options)


def compare(model: nn.Module, batch: int, options: argparse.Namespace) -> None:
    channels, size = model.config.in_channels, model.config.image_size
    pixels = torch.randn(batch, channels, size, size, device=options.device)
    classes = torch.zeros(batch, dtype=torch.long, device=options.device)
    jobs: dict[str, Callable[[], Tensor]] = {"forward": lambda: forward(model, pixels)}
    for name in options.methods:
        jobs[name] = lambda name=name: METHODS[name](model, pixels, classes)
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(options.rounds + 1):
        for name, job in jobs.items():
            seconds = measured(job)
            if turn:  # the first round warms up
                times[name].append(seconds)
    base = statistics.median(times["forward"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"batch {batch:3}  {name:22} {1000 * median:9.1f} ms  {median / base:6.2f} forward passes")


def forward(model: nn.Module, pixels: Tensor) -> Tensor:
    with torch.inference_mode():
        return model(pixels)


def measured(job: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    job().sum().item()  # waits for an accelerator, too
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
