"""Benchmark of attention variants: the sequence length from which each is faster than plain attention here."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from ..errors import VitrailError
from ..machine.devices import pick_device, pick_precision
from ..machine.race import Runner, race
from ..nn import (
    AxialAttention,
    EluFeatures,
    LinearAttention,
    LocalAttention,
    MultiHeadAttention,
    NeighbourhoodAttention,
    RandomFeatures,
    RelativePositionAttention,
    SparseAttention,
    Tokens,
)
from ..nn.attention import pattern
from ..nn.attention.attend import KERNELS, Attend
from ..progress import Track, silent

SIDES = (14, 20, 28, 40, 56, 80, 112, 160, 224)
"""Sides of the square grids: each grid has about twice as many tokens as the one before."""
PLAIN = "plain"
Grid = tuple[int, int]
Make = Callable[[int, int, Grid], nn.Module]
"""(dim, num_heads, grid) -> attention module, Tokens -> Tokens."""


def _sparse(shown: pattern.Pattern) -> Make:
    return lambda dim, heads, grid: SparseAttention(dim, heads, shown)


def _with_kernel(name: str) -> Make:
    return lambda dim, heads, grid: MultiHeadAttention(dim, heads, attend=Attend(KERNELS[name]))


def _local(dim: int, heads: int, grid: Grid) -> nn.Module:
    return LocalAttention(MultiHeadAttention(dim, heads), (7, 7))


def _neighbourhood(dim: int, heads: int, grid: Grid) -> nn.Module:
    return NeighbourhoodAttention(dim, heads, 7)


def _axial(dim: int, heads: int, grid: Grid) -> nn.Module:
    return nn.Sequential(AxialAttention(dim, heads, -1), AxialAttention(dim, heads, -2))


def _strided(dim: int, heads: int, grid: Grid) -> nn.Module:
    return SparseAttention(dim, heads, partial(pattern.strided, stride=grid[1]))


def _band(dim: int, heads: int, grid: Grid) -> nn.Module:
    return SparseAttention(dim, heads, partial(pattern.band, reach=grid[1]))


def _performer(dim: int, heads: int, grid: Grid) -> nn.Module:
    return LinearAttention(dim, heads, RandomFeatures(dim // heads))


VARIANTS: dict[str, Make] = {
    PLAIN: _with_kernel("auto"),
    "plain, fused kernel": _with_kernel("fused"),
    "plain, explicit product": _with_kernel("explicit"),
    "relative": lambda dim, heads, grid: RelativePositionAttention(dim, heads, grid),
    "windows 7×7 (LocalAttention)": _local,
    "windows 7×7 (groups)": _sparse(partial(pattern.windows, window=(7, 7))),
    "shifted windows 7×7 (groups)": _sparse(partial(pattern.windows, window=(7, 7), shift=(3, 3))),
    "neighbourhood 7×7": _neighbourhood,
    "lattice, stride 4": _sparse(partial(pattern.lattice, stride=4)),
    "axial, rows and columns": _axial,
    "band of a row": _band,
    "strided by a row": _strided,
    "Big Bird, blocks of 16": _sparse(partial(pattern.big_bird, block=16)),
    "linear, elu": lambda dim, heads, grid: LinearAttention(dim, heads, EluFeatures()),
    "linear, Performer": _performer,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """Result of one attention: median milliseconds at each length, and the length from which it is the faster one."""

    name: str
    milliseconds: tuple[float, ...]
    faster_from: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionBench:
    """Results of the benchmark with its settings. Lengths are numbers of tokens of square grids."""

    device: str
    precision: str
    threads: int
    torch: str
    dim: int
    num_heads: int
    batch_size: int
    training: bool
    lengths: tuple[int, ...]
    variants: tuple[Variant, ...]
    note: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def bench_attention(
    *,
    dim: int = 192,
    num_heads: int = 3,
    max_length: int = 4096,
    batch_size: int = 1,
    training: bool = False,
    device: str = "auto",
    precision: str = "auto",
    minutes: float = 2.0,
    progress: Track = silent,
) -> AttentionBench:
    """Time every attention in turn, projections included, at growing lengths.

    Args:
        training: time forward and backward instead of forward only.
        minutes: time budget; lengths that do not fit are left out.

    Raises:
        VitrailError: no length is below `max_length`, or the machine lacks the device.
    """
    sides = [side for side in SIDES if side * side <= max_length]
    if not sides:
        raise VitrailError(f"max length {max_length} is too short: use at least {SIDES[0] ** 2}")
    place = pick_device(device)
    dtype = pick_precision(precision, place)
    measured: dict[int, dict[str, float]] = {}
    note = ""
    end = time.perf_counter() + 60 * minutes
    for done, side in enumerate(progress(sides, len(sides), "lengths")):
        left = end - time.perf_counter()
        if done and _round(measured) > left:
            note = f"the time budget ended before length {side * side}: give more --minutes"
            break
        tokens = Tokens(torch.randn(batch_size, side * side, dim, device=place), (side, side))
        runners = {
            name: _runner(make(dim, num_heads, (side, side)).to(place), tokens, dtype, training)
            for name, make in VARIANTS.items()
        }
        measured[side * side] = race(runners, place, seconds=left / (len(sides) - done))
    return AttentionBench(
        device=torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu",
        precision=str(dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        dim=dim,
        num_heads=num_heads,
        batch_size=batch_size,
        training=training,
        lengths=tuple(measured),
        variants=tuple(_variant(name, measured) for name in VARIANTS),
        note=note,
    )


def _round(measured: dict[int, dict[str, float]]) -> float:
    """Least seconds for the next length: four rounds with twice the tokens of the last one."""
    return 4 * 2 * sum(measured[max(measured)].values())


def faster_from(times: dict[int, float], plain: dict[int, float]) -> int | None:
    """Smallest length from which on all times are below those of plain attention; None if there is none."""
    found = None
    for length in sorted(plain, reverse=True):
        if times[length] >= plain[length]:
            break
        found = length
    return found


def _runner(branch: nn.Module, tokens: Tokens, dtype: torch.dtype, training: bool) -> Runner:
    branch.train(training)
    kind, lower = tokens.x.device.type, dtype != torch.float32

    def forward() -> torch.Tensor:
        with torch.autocast(kind, dtype if lower else None, enabled=lower):
            return branch(tokens).x

    def step() -> None:
        x = forward()
        torch.autograd.backward(x, torch.ones_like(x))
        branch.zero_grad()

    return step if training else torch.inference_mode()(forward)


def _variant(name: str, measured: dict[int, dict[str, float]]) -> Variant:
    times = {length: row[name] for length, row in measured.items()}
    plain = {length: row[PLAIN] for length, row in measured.items()}
    return Variant(
        name=name,
        milliseconds=tuple(1000 * seconds for seconds in times.values()),
        faster_from=faster_from(times, plain),
    )
