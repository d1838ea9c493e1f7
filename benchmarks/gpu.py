"""Inference of ViTs on a GPU beside timm, compiled with `mode="max-autotune"` (CUDA graphs), in turn in one process.

    python benchmarks/gpu.py [--models vit_base_patch16_224 vit_large_patch16_224] [--batches 1 64 8 256] [--minutes 5]

Contenders of a case, a model and a batch size, with the same random weights:

* vitrail with the engine `compiled`, in bfloat16 and, where the GPU has it, float8;
* timm in bfloat16, compiled and eager. Its weights are bfloat16 in channels-last layout, or float32 under autocast:
  whichever is faster in the first case, compiled, is kept.

Pixels are float32 and lie on the GPU in channels-last layout, outputs go to the CPU. The clock stops when the GPU has
finished (`torch.cuda.synchronize`). Every contender runs once in each round; ratios are medians over the rounds of the
time of compiled timm in units of the contender's own: above 1 it is faster. Outputs are compared with those of vitrail
in eager float32, and one that differs by more than the tolerance of its format has failed. Each case is compiled anew,
so that all sizes are constants, which takes most of the time: a case is begun only if one that takes as long as the
longest so far would end within --minutes, and the others are listed as not run. PyTorch keeps compiled kernels on disk:
a second run gets further.

It runs on a CPU to test the script: --device cpu --models vit_tiny_patch16_224 --batches 1 --rounds 1
"""

import argparse
import copy
import json
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from vitrail.bench.model_race import open_model
from vitrail.bench.peers import build_peer
from vitrail.engines.agreement import TOLERANCES, difference, example_pixels
from vitrail.engines.compiled_engine import CompiledEngine, compile_frozen
from vitrail.engines.precision import FLOAT8, on_device, pick_device, reduced_precision
from vitrail.errors import VitrailError
from vitrail.machine.devices import has_float8
from vitrail.machine.facts import cpu_name
from vitrail.machine.race import Spread, race_times
from vitrail.planning.flops import count

Run = Callable[[Tensor], Tensor]
"""Pixels (B, 3, H, W) on the device -> float32 logits on the CPU."""

BASELINE = "timm compiled bfloat16"
WARM_UP = 3
"""Calls before the rounds: CUDA graphs are recorded in the second."""


@cache
def models_of(name: str) -> tuple[Any, nn.Module]:
    """Our model and timm's, with the same weights, on the CPU."""
    ours, architecture = open_model(name)
    return ours, build_peer("timm", ours, architecture)


def ours(model: nn.Module, precision: str, device: torch.device) -> Run:
    """The compiled engine, which must not fall back to eager PyTorch."""
    engine = CompiledEngine(model, str(device), precision)

    def run(pixels: Tensor) -> Tensor:
        found: Tensor = engine(pixels)
        if engine.compiled is None:
            raise VitrailError("torch.compile failed: see the warning")
        return found

    return run


def theirs(module: nn.Module, device: torch.device, *, cast: bool, compiled: bool) -> Run:
    """timm's model in bfloat16.

    Args:
        module: on the CPU, in float32; it is not changed.
        device: where it runs.
        cast: whether its weights are bfloat16; otherwise autocast converts them.
        compiled: whether it is compiled.
    """
    dtype = torch.bfloat16 if cast else torch.float32
    placed = copy.deepcopy(module).to(device, dtype, memory_format=torch.channels_last)
    forward = compile_frozen(placed, device) if compiled else placed
    autocast = torch.float32 if cast else torch.bfloat16

    def run(pixels: Tensor) -> Tensor:
        with torch.no_grad(), reduced_precision(device, autocast):
            found: Tensor = forward(pixels.to(dtype))
        return found.float().cpu()

    return run


def float32_logits(model: nn.Module, pixels: Tensor) -> Tensor:
    """What answers are compared with: our model, eager, in float32."""
    with torch.no_grad(), reduced_precision(pixels.device, torch.float32):
        found: Tensor = model.to(pixels.device)(pixels)
    return found.cpu()


def warmed(make: Callable[[], Run], precision: str, pixels: Tensor, expected: Tensor) -> tuple[Run, dict[str, Any]]:
    """Build a contender, compile it and compare its answers.

    Returns:
        The contender, its difference from the expected answers, and the seconds until it was ready.

    Raises:
        VitrailError: the answers differ by more than the tolerance of its format.
    """
    started = time.perf_counter()
    run = make()
    apart = difference(run(pixels), expected)
    most = TOLERANCES[FLOAT8 if precision == "float8" else torch.bfloat16]
    if not apart <= most:
        raise VitrailError(f"its outputs differ by {apart:.1e}, more than {most:g}")
    for _ in range(WARM_UP):
        run(pixels)
    return run, {"difference": apart, "start_seconds": time.perf_counter() - started}


def contenders(name: str, device: torch.device, *, cast: bool) -> dict[str, tuple[str, Callable[[], Run]]]:
    """Name -> number format, and the function that builds it."""
    model, peer = models_of(name)
    formats = ["bfloat16", *(["float8"] if has_float8(device) else [])]
    found = {f"vitrail compiled {word}": (word, partial(ours, model, word, device)) for word in formats}
    for compiled, word in ((True, "compiled"), (False, "eager")):
        make = partial(theirs, peer, device, cast=cast, compiled=compiled)
        found[f"timm {word} bfloat16"] = ("bfloat16", make)
    return found


def measured(name: str, batch: int, given: argparse.Namespace, device: torch.device, *, cast: bool) -> list[dict]:
    """A row for each contender of a case."""
    model, _ = models_of(name)
    pixels = on_device(example_pixels(model, batch), device)
    expected = float32_logits(model, pixels)
    runs: dict[str, Callable[[], Tensor]] = {}
    rows: dict[str, dict[str, Any]] = {}
    for label, (precision, make) in contenders(name, device, cast=cast).items():
        rows[label] = {"model": name, "batch": batch, "contender": label}
        try:
            run, facts = warmed(make, precision, pixels, expected)
        except Exception as error:  # of any part of PyTorch: a contender that fails is a row
            rows[label]["failed"] = (str(error).strip().splitlines() or [type(error).__name__])[0]
            continue
        runs[label] = partial(run, pixels)
        rows[label] |= facts
    times = race_times(runs, device, seconds=given.seconds, least=min(3, given.rounds), most=given.rounds)
    flops = batch * count(model.config, model.rewrites).flops
    for label, seconds in times.items():
        rows[label] |= speed(seconds, times.get(BASELINE), batch, flops)
    return list(rows.values())


def speed(seconds: list[float], baseline: list[float] | None, batch: int, flops: float) -> dict[str, Any]:
    """Numbers of a contender, from its seconds in every round and those of the baseline."""
    spread = Spread.of(seconds)
    ratio = median(a / b for a, b in zip(baseline, seconds, strict=True)) if baseline else None
    return {
        "rounds": len(seconds),
        "ms": 1000 * spread.median,
        "ms_lower": 1000 * spread.lower,
        "ms_upper": 1000 * spread.upper,
        "images_per_second": batch / spread.median,
        "tflops": flops / spread.median / 1e12,
        "ratio": ratio,
    }


def faster_cast(name: str, batch: int, given: argparse.Namespace, device: torch.device) -> tuple[bool, dict]:
    """Whether compiled timm is faster with weights in bfloat16 than under autocast, and both times."""
    model, peer = models_of(name)
    pixels = on_device(example_pixels(model, batch), device)
    runs = {}
    for word, cast in (("bfloat16 weights", True), ("autocast", False)):
        run = theirs(peer, device, cast=cast, compiled=True)
        for _ in range(WARM_UP):
            run(pixels)
        runs[word] = partial(run, pixels)
    times = race_times(runs, device, seconds=given.seconds / 2, least=min(3, given.rounds), most=given.rounds)
    both = {word: 1000 * median(seconds) for word, seconds in times.items()}
    return both["bfloat16 weights"] <= both["autocast"], {"timm_ms": both, "model": name, "batch": batch}


def forget(device: torch.device) -> None:
    """Free compiled models, and let sizes of the next case be constants."""
    torch._dynamo.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()


class Report:
    """Prints rows, and writes them to a file of JSON lines.

    Args:
        file: written anew; None: rows are only printed.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        if file is not None:
            file.write_text("")

    def add(self, row: Mapping[str, Any]) -> None:
        """Print a row, and write it at once: a run that is stopped leaves what it has measured."""
        print(self.line(row), flush=True)
        if self.file is not None:
            with self.file.open("a") as opened:
                opened.write(json.dumps(row) + "\n")

    def line(self, row: Mapping[str, Any]) -> str:
        """A row in words."""
        if "contender" not in row:
            return ", ".join(f"{key} {value}" for key, value in row.items() if value is not None)
        if why := row.get("failed") or row.get("not_run"):
            return f"  {row['model']}, batch {row['batch']}, {row['contender']}: {why}"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:6.2f} x"
        return (
            f"  {row['contender']:26}{row['ms']:10.3f} ms ({row['ms_lower']:.3f} to {row['ms_upper']:.3f}) "
            f"{row['images_per_second']:10.1f} images/s {row['tflops']:7.1f} TFLOP/s {ratio}  difference "
            f"{row['difference']:.1e}, {row['rounds']} rounds, ready in {row['start_seconds']:.0f} s"
        )


def circumstances(device: torch.device) -> dict[str, Any]:
    """Names of the device and versions of packages."""
    found: dict[str, Any] = {"device": cpu_name(), "float8": has_float8(device)}
    if device.type == "cuda":
        capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
        found |= {"device": torch.cuda.get_device_name(device), "capability": capability, "cuda": torch.version.cuda}
    for package in ("torch", "timm", "triton"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def race_all(given: argparse.Namespace, device: torch.device, report: Report) -> None:
    """All cases, batch by batch, as far as the time goes."""
    started = time.perf_counter()
    cast, facts = faster_cast(given.models[0], min(given.batches), given, device)
    report.add({"timm_weights": "bfloat16" if cast else "float32, autocast", **facts})
    longest = 2 * (time.perf_counter() - started)  # two contenders were compiled, and a case has four
    for batch, name in ((batch, name) for batch in given.batches for name in given.models):
        begun = time.perf_counter()
        if begun + longest > started + 60 * given.minutes:
            why = f"not run: of {given.minutes:g} minutes {(begun - started) / 60:.1f} are over"
            report.add({"model": name, "batch": batch, "contender": "all", "not_run": why})
            continue
        forget(device)
        print(f"\n{name}, batch {batch}")
        for row in measured(name, batch, given, device, cast=cast):
            report.add(row)
        longest = max(longest, time.perf_counter() - begun)
    print(f"\n{(time.perf_counter() - started) / 60:.1f} minutes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["vit_base_patch16_224", "vit_large_patch16_224"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64, 8, 256], help="in this order")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to test the script")
    parser.add_argument("--minutes", type=float, default=5, help="no case is begun that may end after this time")
    parser.add_argument("--seconds", type=float, default=3, help="for the rounds of a case, after compiling")
    parser.add_argument("--rounds", type=int, default=200, help="at most, of a case")
    parser.add_argument("--out", type=Path, help="file of JSON lines")
    given = parser.parse_args()
    try:
        device = pick_device(given.device)
    except VitrailError as error:
        sys.exit(
            f"{error}\nThis benchmark is for a GPU, and nothing was measured. To test the script: --device cpu "
            "--models vit_tiny_patch16_224 --batches 1 --rounds 1"
        )
    warnings.filterwarnings("ignore", message=".*TensorFloat32.*|.*Online softmax.*")
    report = Report(given.out)
    report.add(circumstances(device))
    if device.type == "cpu":
        print("no GPU: these times say nothing about one")
    race_all(given, device, report)


if __name__ == "__main__":
    main()
