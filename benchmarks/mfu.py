"""Model FLOPs utilisation of a training step on a GPU, beside timm, in turn in one process.

    python benchmarks/mfu.py [--models vit_base_patch16_224 vit_large_patch16_224] [--batch 256] [--seconds 20]

A step is forward, cross entropy, backward and AdamW in bfloat16, on images that lie on the device. Utilisation is
the FLOPs of the matrix products (three times those of a forward pass) in a second, divided by the peak of the
device's data sheet (--peak, in TFLOP/s; known for A100, H100 and H200). It runs on a CPU too, to test the script.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import timm
import torch
import torch.nn.functional as F
from torch import nn

from vitrail import create_model
from vitrail.models.registry import model_config
from vitrail.planning.flops import TRAINING_STEP, count

PEAKS = {"A100": 312.0, "H100": 989.0, "H200": 989.0}
"""Dense bfloat16 TFLOP/s of data sheets, by a part of the device's name."""


def step_of(model: nn.Module, batch: int, size: int, device: torch.device, *, compiled: bool) -> Callable[[], None]:
    """A training step of a classifier of 1,000 classes."""
    model = model.to(device).train()
    run = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    pixels = torch.randn(batch, 3, size, size, device=device)
    labels = torch.randint(1000, (batch,), device=device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            logits = run(pixels)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def seconds_of(step: Callable[[], None], device: torch.device, times: int) -> float:
    """Seconds of a step, mean over `times`."""
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    wait()
    started = time.perf_counter()
    for _ in range(times):
        step()
    wait()
    return (time.perf_counter() - started) / times


def compare(name: str, given: argparse.Namespace, device: torch.device, peak: float | None) -> None:
    """Time both libraries in turn, and print a row for each."""
    config = model_config(name)
    size = config.image_size if isinstance(config.image_size, int) else config.image_size[0]
    flops = TRAINING_STEP * count(config).flops * given.batch
    rows: dict[str, list[float]] = {}
    steps = {
        f"{library}{' compiled' * compiled}": step_of(make(), given.batch, size, device, compiled=compiled)
        for compiled in ([False, True] if given.compile else [False])
        for library, make in (("vitrail", lambda: create_model(name)), ("timm", lambda: timm.create_model(name)))
    }
    for step in steps.values():
        seconds_of(step, device, 3)
    ends = time.perf_counter() + given.seconds
    while time.perf_counter() < ends or not rows:
        for label, step in steps.items():
            rows.setdefault(label, []).append(seconds_of(step, device, given.times))
    print(f"\n{name}, batch {given.batch}, {size} px, {flops / 1e12:.2f} TFLOP a step")
    for label, seconds in rows.items():
        rate = flops / statistics.median(seconds) / 1e12
        used = f"{rate / peak:8.1%} of {peak:g}" if peak else ""
        print(f"{label:18}{given.batch / statistics.median(seconds):10.1f} images/s {rate:8.1f} TFLOP/s {used}")


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["vit_base_patch16_224", "vit_large_patch16_224"])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=20, help="time for each model after warming up")
    parser.add_argument("--times", type=int, default=5, help="steps between two measurements")
    parser.add_argument("--peak", type=float, help="TFLOP/s of the device in bfloat16")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too")
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    peak = given.peak or next((value for key, value in PEAKS.items() if key in name), None)
    print(f"{name}, torch {torch.__version__}, timm {timm.__version__}")
    for model in given.models:
        compare(model, given, device, peak)


if __name__ == "__main__":
    main()
