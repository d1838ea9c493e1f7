"""Measures a setting beside the unmodified model: speed in turn, and what its predictions lose."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..checkpoint.contract import Checkpoint
from ..data.preprocess import Preprocess
from ..engines.agreement import difference
from ..engines.choice import Setting
from ..engines.engine import Engine
from ..engines.precision import on_device, pick_device
from ..engines.predictor import Predictor, batched, output_names
from ..machine.race import race
from ..tasks.placed import PlacedTask
from ..tasks.registry import resolve
from ..tasks.task import Task
from .images import TestImages
from .margin import drop_of_groups, drop_of_share

_PAUSE = 0.01
"""Seconds before each call: threads of the runner before go on spinning, and the other seems slower beside them."""
EXACT = 1e-3
"""Relative difference of the outputs up to which a setting counts as exact."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What was measured of a setting.

    Attributes:
        setting: how the model is run; None for the unmodified model.
        seconds: median time of a batch.
        speedup: median time of the unmodified model in the same rounds, in units of `seconds`.
        difference: relative difference of the outputs from those of the unmodified model, see `agreement.difference`.
        drop: quality that is lost, in points: of labelled images by the task's measure of quality, otherwise the share
            of images whose prediction changes; None without images.
        changed: share of the images whose prediction changes; None without images.
        failed: why the setting does not work, or None.
    """

    setting: Setting | None
    seconds: float = math.nan
    speedup: float = math.nan
    difference: float = math.nan
    drop: float | None = None
    changed: float | None = None
    failed: str | None = None

    @property
    def name(self) -> str:
        """The setting in words."""
        return "unmodified model" if self.setting is None else str(self.setting)


class Unmodified:
    """Engine of the model as it is: PyTorch, float32, no rewrites; what settings are compared with."""

    def __init__(self, model: nn.Module, device: str) -> None:
        self.device = pick_device(device)
        self.precision = torch.float32
        self.model = model.eval().to(self.device)

    def __call__(self, pixels: Tensor) -> Any:
        with torch.inference_mode():
            return tree_map(lambda leaf: leaf.float().cpu(), self.model(on_device(pixels, self.device)))


class Bench:
    """The unmodified model with the images on which settings are compared with it.

    Args:
        checkpoint: what is run.
        images: the user's images; None: random ones, for the speed and the difference of the outputs alone.
        batch_size: images of a batch.
        device: see `make_engine`.
        seconds: time for measuring the speed of a setting.

    Attributes:
        times: seconds of the unmodified model, beside each setting.
    """

    def __init__(
        self, checkpoint: Checkpoint, images: TestImages | None, batch_size: int, device: str, seconds: float
    ) -> None:
        self.checkpoint = checkpoint
        self.images = images
        self.batch_size = batch_size
        self.seconds = seconds
        self.times: list[float] = []
        self.task: Task = resolve(checkpoint.task)
        self.unmodified = Unmodified(checkpoint.model, device)
        self.batch = self._batch()
        self.expected = self.outputs(self.unmodified, checkpoint.preprocess)
        self.quality = self._quality(self.expected)

    def measured(self, setting: Setting, engine: Engine, preprocess: Preprocess) -> Outcome:
        """Measure a setting; the speed is that of the engine with the normalisation of its images."""
        found = self.outputs(engine, preprocess)
        times = race(
            {
                "unmodified": lambda: self.unmodified(self.checkpoint.preprocess.normalise(self.batch)),
                "setting": lambda: engine(preprocess.for_engine(self.batch)),
            },
            engine.device,
            seconds=self.seconds,
            pause=_PAUSE,
        )
        self.times.append(times["unmodified"])
        return Outcome(
            setting=setting,
            seconds=times["setting"],
            speedup=times["unmodified"] / times["setting"],
            difference=difference(found, self.expected),
            drop=None if self.images is None else self.lost(found),
            changed=None if self.images is None else self.changed(found),
        )

    def changed(self, found: Any) -> float:
        """Share of the images whose prediction is another than that of the unmodified model."""
        names = output_names(self.checkpoint)
        pairs = zip(self.task.answers(found, names), self.task.answers(self.expected, names), strict=True)
        return sum(mine != other for mine, other in pairs) / len(self.images.images if self.images else self.batch)

    def lost(self, found: Any) -> float:
        """Points that outputs lose, see `Outcome.drop`."""
        quality = self._quality(found)
        if quality is None or self.quality is None:
            return 100 * self.changed(found)
        return 100 * (self.quality - quality)

    def smallest_drop(self, outcome: Outcome, engine: Engine, preprocess: Preprocess) -> float:
        """Smallest drop of a setting, in points, that differs from none on these images, with 95 % confidence."""
        assert self.images is not None
        assert outcome.changed is not None
        if self.images.targets is None or not isinstance(self.task, PlacedTask):
            return drop_of_share(outcome.changed, len(self.images.images))
        outputs, names = (self.expected, self.outputs(engine, preprocess)), output_names(self.checkpoint)
        found = drop_of_groups(self.task, names, self.images.samples, outputs)
        return drop_of_share(0, len(self.images.images)) if found is None else found

    def batches(self) -> Iterator[Tensor]:
        """The images in batches."""
        return batched(self.images.images if self.images else list(self.batch), self.batch_size)

    def _batch(self) -> Tensor:
        if self.images is not None:
            many = [self.images.images[place % len(self.images.images)] for place in range(self.batch_size)]
            return torch.stack(many)
        preprocess = self.checkpoint.preprocess
        shape = (self.batch_size, preprocess.channels, *preprocess.image_size)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def outputs(self, engine: Callable[[Tensor], Any], preprocess: Preprocess) -> Any:
        """The outputs of an engine for all images, joined by the task."""
        predictor = Predictor(engine, preprocess, self.task, output_names(self.checkpoint), batch_size=self.batch_size)  # type: ignore[arg-type]
        return together(list(predictor.outputs(self.batches())))

    def _quality(self, output: Any) -> float | None:
        if self.images is None or self.images.targets is None:
            return None
        metrics = self.task.metrics(output_names(self.checkpoint))
        metrics.update(output, self.images.targets)
        return metrics.quality()


def together(parts: Sequence[Any]) -> Any:
    """One output for all images, of the outputs for parts of them."""
    return tree_map(lambda *tensors: torch.cat(tensors), *parts)
