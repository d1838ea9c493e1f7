"""Time of a forward pass and of a training step: measured on this machine, or estimated from its matrix products."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from ..engines.engine import make_engine
from ..engines.precision import on_device, pick_device, pick_precision, reduced_precision
from ..machine.race import timed
from ..models.fields import ModelConfig
from ..rewrites.base import Rewrite
from ..rewrites.registry import replay
from .flops import TRAINING_STEP

EFFICIENCY = 0.5
"""Fraction of the speed of a large matrix product that is assumed for a model; LOG.md has measured ones."""
_ROUNDS, _SECONDS = 5, 8.0
_SIDES, _LONG_PRODUCT = (256, 512, 1024, 2048, 4096, 8192), 0.05
"""Sides of the matrices of `matrix_peak`, and seconds of a product after which no larger ones are tried."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """Seconds for one image in inference and in a training step (without the optimiser's update).

    Attributes:
        inference, training: seconds an image.
        measured: False: estimated from the FLOPs, which may be wrong by a factor of two or three.
    """

    inference: float
    training: float
    measured: bool


def estimate(flops: int, *, flops_per_second: float | None = None) -> Seconds:
    """Estimated time from the FLOPs of a forward pass of one image.

    Args:
        flops: see `count`.
        flops_per_second: speed of matrix products; None: that of this machine's CPU, measured once a process.
    """
    speed = EFFICIENCY * (flops_per_second or matrix_speed())
    return Seconds(flops / speed, TRAINING_STEP * flops / speed, measured=False)


@cache
def matrix_speed() -> float:
    """FLOPs a second of a float32 matrix product on this CPU, with its threads; takes about half a second."""
    rows, inner, columns = 2048, 768, 768
    left, right = torch.ones(rows, inner), torch.ones(inner, columns)
    torch.mm(left, right)
    times = []
    for _ in range(8):
        started = time.perf_counter()
        torch.mm(left, right)
        times.append(time.perf_counter() - started)
    return 2 * rows * inner * columns / min(times)  # the others shared the cores with other programs


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """FLOPs a second of the best of a few matrix products on a device, with PyTorch's current threads.

    Sides double as long as a product is quick: in a format that the hardware lacks, a large one takes half a minute.

    Args:
        device: where it is measured.
        dtype: number format of the factors.
    """
    best = 0.0
    for side in _SIDES:
        left, right = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))
        times = [timed(lambda: torch.mm(left, right), device) for _ in range(5)]  # noqa: B023
        best = max(best, 2 * side**3 / min(times))
        if min(times) > _LONG_PRODUCT:
            break
    return best


def measure(
    config: ModelConfig,
    batch_size: int,
    *,
    device: str = "cpu",
    precision: str = "auto",
    rewrites: tuple[Rewrite, ...] = (),
) -> Seconds:
    """Measured time, with random weights: the median of a few rounds after one that warms up.

    Args:
        config: the model; its weights and activations are allocated.
        batch_size: images in a batch.
        device, precision: see `make_engine`.
        rewrites: applied to the model.
    """
    model = replay(config.densest().build(), rewrites)
    inputs = config.example_inputs(batch_size)
    engine = make_engine(model, device=device, precision=precision)
    forward = _median_seconds(lambda: engine(inputs[0])) if len(inputs) == 1 else _of_forward(model, inputs)
    place = pick_device(device)
    dtype = pick_precision(precision, place)
    model.train()
    placed = tuple(on_device(each, place) for each in inputs)

    def step() -> None:
        with reduced_precision(place, dtype):
            output = model(*placed)
        _loss(output).backward()
        if place.type == "cuda":
            torch.cuda.synchronize(place)

    return Seconds(forward / batch_size, _median_seconds(step) / batch_size, measured=True)


def _of_forward(model: torch.nn.Module, inputs: tuple[Tensor, ...]) -> float:
    """Seconds of a forward pass of a model with more inputs than pixels, on the CPU."""

    def forward() -> None:
        with torch.inference_mode():
            model(*inputs)

    return _median_seconds(forward)


def _median_seconds(work: Callable[[], object]) -> float:
    work()
    times: list[float] = []
    while len(times) < _ROUNDS and sum(times) < _SECONDS:
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return median(times)


def _loss(output: object) -> Tensor:
    leaves = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor) and leaf.requires_grad]
    if len(leaves) == 1 and leaves[0].ndim == 2:
        return F.cross_entropy(
            leaves[0].float(), torch.zeros(len(leaves[0]), dtype=torch.long, device=leaves[0].device)
        )
    return torch.stack([leaf.float().square().mean() for leaf in leaves]).sum()
