"""A race of the contenders that run one model, at several batch sizes."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from ..checkpoint.contract import load
from ..checkpoint.document import architecture_name
from ..engines.agreement import example_pixels
from ..engines.precision import pick_device
from ..errors import VitrailError, is_out_of_memory
from ..machine.race import Spread, race_times
from ..models.fields import ModelConfig
from ..models.registry import create_model, is_model_name, model_config
from ..nn import BaseVisionModel, joined
from ..planning.flops import count
from .contenders import OURS, Contender, PeerModel, Run, build_ours, build_theirs, checked
from .peers import build_peer

T = TypeVar("T")
PAUSE = 0.02
"""Seconds before each call, in which the threads of the contender before fall asleep."""
_DEVIATION = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Heat:
    """What contenders share in a race: the model, the batch size and the number of threads."""

    model: str
    batch_size: int
    threads: int

    def __str__(self) -> str:
        return f"{self.model}, batch {self.batch_size}, {self.threads} thread{'s' * (self.threads > 1)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What was measured of a contender in a race.

    Attributes:
        contender: what was measured.
        seconds: of a batch; None if it failed.
        ratio: median over the rounds of the baseline's time in units of this one's in the same round.
        share: FLOPs a second, as a fraction of those of a large matrix product in the same number format.
        difference: relative difference of the outputs from those of our model in eager PyTorch with float32.
        failed: why it was not measured, or None.
    """

    contender: Contender
    seconds: Spread | None = None
    ratio: float = math.nan
    share: float = math.nan
    difference: float = math.nan
    failed: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class HeatResults:
    """Results of a heat: the fastest contender first, those that failed last; ratios refer to `baseline`."""

    heat: Heat
    baseline: Contender
    results: tuple[Result, ...]


class ModelRace:
    """The contenders of a model, with the same weights.

    Args:
        name: a variant, which gets random weights, or a checkpoint.
        contenders: what runs it; the first one of another library that works in float32 is the baseline, or else ours.
        device: see `make_engine`.
        seconds: time for the rounds of a heat.

    Raises:
        VitrailError: unknown model, or one that takes more than images.
    """

    def __init__(self, name: str, contenders: Sequence[Contender], device: str, seconds: float) -> None:
        self.name = name
        self.model, self.architecture = open_model(name)
        self.contenders = contenders
        self.device = device
        self.seconds = seconds
        self.pixels = example_pixels(self.model, 1)
        self.flops = count(self.model.config, self.model.rewrites).flops
        self.failed: dict[Contender, str] = {}
        self.peers = self._build_peers()

    def heats(self, batch_sizes: Sequence[int], threads: int, peaks: Mapping[str, float]) -> Iterator[HeatResults]:
        """Build all contenders, and race them with each batch size.

        Args:
            batch_sizes: images in one forward pass.
            threads: number of threads that PyTorch and engines use, see `threads_at_most`.
            peaks: number format -> FLOPs a second of a large matrix product.

        Raises:
            VitrailError: no contender works.
        """
        failed = dict(self.failed)
        runs: dict[Contender, Run] = {}
        for contender in self.contenders:
            if contender not in failed and (run := _tried(failed, contender, partial(self._build, contender))):
                runs[contender] = run
        for batch_size in batch_sizes:
            heat = Heat(model=self.name, batch_size=batch_size, threads=threads)
            yield self._heat(heat, runs, dict(failed), peaks)

    def _heat(
        self, heat: Heat, runs: Mapping[Contender, Run], failed: dict[Contender, str], peaks: Mapping[str, float]
    ) -> HeatResults:
        pixels = example_pixels(self.model, heat.batch_size)
        expected = self._expected(pixels)
        apart: dict[Contender, float] = {}
        for contender, run in runs.items():
            found = _tried(failed, contender, partial(checked, run, contender, pixels, expected))
            if found is not None:
                apart[contender] = found
        if not apart:
            raise VitrailError(f"{heat}: nothing could be measured: {'; '.join(sorted(set(failed.values())))}")
        names = {str(contender): contender for contender in apart}
        runners = {name: partial(runs[contender], pixels) for name, contender in names.items()}
        times = race_times(runners, pick_device(self.device), seconds=self.seconds, pause=PAUSE)
        baseline = _baseline(list(apart))
        results = [
            Result(
                contender=contender,
                seconds=(spread := Spread.of(times[name])),
                ratio=median(theirs / own for theirs, own in zip(times[str(baseline)], times[name], strict=True)),
                share=heat.batch_size * self.flops / spread.median / peaks[contender.precision],
                difference=apart[contender],
            )
            for name, contender in names.items()
        ]
        results.sort(key=lambda result: result.seconds.median if result.seconds else math.inf)
        lost = [Result(contender=contender, failed=reason) for contender, reason in failed.items()]
        return HeatResults(heat=heat, baseline=baseline, results=(*results, *lost))

    def _build_peers(self) -> dict[str, PeerModel]:
        """Library -> its model; a library that cannot build it has one failed contender."""
        found: dict[str, PeerModel] = {}
        for library in dict.fromkeys(each.library for each in self.contenders if each.library != OURS):
            own = [each for each in self.contenders if each.library == library]
            built = _tried(self.failed, own[0], partial(build_peer, library, self.model, self.architecture))
            if built is not None:
                found[library] = PeerModel(built, self.pixels)
        self.contenders = [each for each in self.contenders if each.library in (OURS, *found)]
        return found

    def _build(self, contender: Contender) -> Run:
        if contender.library == OURS:
            return build_ours(self.model, contender, self.device)
        return build_theirs(self.peers[contender.library], contender, self.device)

    def _expected(self, pixels: Tensor) -> Any:
        """Outputs in eager PyTorch with float32."""
        place = next(self.model.parameters()).device
        with torch.inference_mode():
            output = joined(self.model(pixels.to(place)))
        return tree_map_only(Tensor, lambda tensor: tensor.float().cpu(), output)


def open_model(name: str) -> tuple[BaseVisionModel[ModelConfig], str]:
    """A model in evaluation mode, and the name of its variant.

    Args:
        name: a checkpoint; or a variant, which gets random weights in every tensor, the same in every call.
    """
    if Path(name).exists() or not is_model_name(name):
        model = load(name).model
        _require_images(name, model.config)
    else:
        _require_images(name, model_config(name))
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            model = create_model(name)
            for parameter in model.parameters():  # layer scales and classifiers begin with zeros, or nearly so
                parameter.add_(_DEVIATION * torch.randn_like(parameter))
    return model.eval(), architecture_name(model.config)


def _require_images(name: str, config: ModelConfig) -> None:
    """Raise VitrailError if a model takes more than images."""
    if len(config.example_inputs()) != 1:
        raise VitrailError(f"{name} takes more than images: this benchmark runs models of images alone")


def _baseline(working: Sequence[Contender]) -> Contender:
    """The first contender of another library in eager float32, or ours, or the first of all."""
    eager = [each for each in working if (each.engine, each.precision) == ("torch", "float32")]
    others = [each for each in eager if each.library != OURS]
    return [*others, *eager, *working][0]


def _tried(failed: dict[Contender, str], contender: Contender, work: Callable[[], T]) -> T | None:
    """What `work` returns; None if it fails, with the reason in `failed`."""
    try:
        return work()
    except Exception as error:  # of any library: one that fails is a row of the table
        if is_out_of_memory(error):
            raise
        failed[contender] = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return None
