"""A surveyed and split source, ready to learn from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from typing import Literal

import torch
from torch import Tensor

from ..data.memory import remember, shrink
from ..data.open import Sample, open_source, read_image
from ..data.preprocess import Preprocess
from ..data.split import Splits, split
from ..data.survey import Facts, Survey, survey
from ..machine.facts import this_machine
from ..progress import Track, silent
from ..task_spec import MULTI_LABEL

MOST_VAL, MOST_TEST = 2_500, 10_000
"""Images that suffice to choose a checkpoint by, and to measure it; the rest of a large source is trained on."""


@dataclass(frozen=True)
class _Reader:
    """Index -> image; a class and no closure, so that it can travel to worker processes."""

    samples: tuple[Sample, ...]
    channels: int
    bring: Callable[[Tensor], Tensor]

    def __call__(self, index: int) -> Tensor:
        return self.bring(read_image(self.samples[index], self.channels))


def _whole(image: Tensor) -> Tensor:
    return image


@dataclass(frozen=True)
class Part:
    """The samples of one split.

    Attributes:
        samples: in the source's order.
        facts: size and digest of each.
        num_classes: length of a target.
    """

    samples: tuple[Sample, ...]
    facts: tuple[Facts, ...]
    num_classes: int

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def labels(self) -> list[tuple[int, ...]]:
        """Class indices of each sample."""
        return [sample.labels for sample in self.samples]

    @property
    def names(self) -> list[str]:
        """What the user calls each sample."""
        return [sample.name for sample in self.samples]

    @cached_property
    def targets(self) -> Tensor:
        """(n, K) float32 of zeros and ones."""
        targets = torch.zeros(len(self.samples), self.num_classes)
        for row, sample in enumerate(self.samples):
            targets[row, list(sample.labels)] = 1
        return targets

    def reader(self, channels: int) -> Callable[[int], Tensor]:
        """Index -> image with this many channels, read from its file each time."""
        return _Reader(self.samples, channels, _whole)

    def shrunk_reader(self, preprocess: Preprocess, memory: int) -> Callable[[int], Tensor]:
        """Index -> image of at most twice the training size on its shorter side, kept in memory if all of them fit."""
        side = 2 * min(preprocess.image_size)
        read = _Reader(self.samples, preprocess.channels, partial(shrink, side=side))
        return remember(read, self._sizes(side, preprocess.channels), memory)

    def fitted_reader(self, preprocess: Preprocess, memory: int) -> Callable[[int], Tensor]:
        """Index -> image fitted to the model's size, kept in memory if all of them fit."""
        height, width = preprocess.image_size
        read = _Reader(self.samples, preprocess.channels, preprocess.fit)
        return remember(read, [height * width * preprocess.channels] * len(self), memory)

    def _sizes(self, side: int, channels: int) -> list[int]:
        return [
            round(facts.height * facts.width * min(1.0, side / min(facts.height, facts.width)) ** 2) * channels
            for facts in self.facts
        ]


@dataclass(frozen=True)
class Dataset:
    """What there is to learn from.

    Attributes:
        name: the source as the user wrote it.
        task: "single" or "multi".
        class_names: in the order of the targets.
        channels: of the images.
        side: median of the shorter sides in pixels.
        train, val, test: the splits; `test` may be empty.
        survey: what was found, the bad files included.
        warnings: sentences about what can be trained on but should be known.
    """

    name: str
    task: Literal["single", "multi"]
    class_names: tuple[str, ...]
    channels: int
    side: int
    train: Part
    val: Part
    test: Part
    survey: Survey
    warnings: tuple[str, ...] = ()

    @property
    def held_out(self) -> tuple[str, Part]:
        """The split that the result is measured on: test, or val where there is no test split."""
        return ("test", self.test) if len(self.test) else ("val", self.val)

    @property
    def counts(self) -> list[int]:
        """Training images of each class."""
        return self.train.targets.sum(0).int().tolist()

    def split_rows(self) -> list[tuple[str, str, str, str]]:
        """(name, digest, split, label) of every image, for splits.csv."""
        return [
            (sample.name, facts.digest, name, "|".join(self.class_names[label] for label in sample.labels))
            for name, part in (("train", self.train), ("val", self.val), ("test", self.test))
            for sample, facts in zip(part.samples, part.facts, strict=True)
        ]


def read_dataset(
    source: str | Path, *, val: float, test: float, skip_bad: bool = False, progress: Track = silent
) -> Dataset:
    """Open, survey and split a source.

    Raises:
        VitrailError: there is nothing to learn from, or bad files and not `skip_bad`; the message names them.
    """
    found = survey(open_source(source), progress=progress)
    found.require_clean(skip_bad=skip_bad)
    count = max(1, len(found.facts))
    found.require_trainable()
    parts = split(found, val=min(val, MOST_VAL / count), test=min(test, MOST_TEST / count))
    facts = {id(sample): fact for sample, fact in zip(found.source.samples, found.facts, strict=True)}

    def part(samples: Sequence[Sample]) -> Part:
        return Part(tuple(samples), tuple(facts[id(sample)] for sample in samples), len(found.source.class_names))

    return Dataset(
        name=str(source),
        task="multi" if found.source.task == MULTI_LABEL else "single",
        class_names=found.source.class_names,
        channels=found.channels,
        side=round(median(min(fact.height, fact.width) for fact in found.facts)),
        train=part(parts.train),
        val=part(parts.val),
        test=part(parts.test),
        survey=found,
        warnings=(*found.warnings, *_leak_warning(parts)),
    )


def _leak_warning(parts: Splits) -> list[str]:
    if not parts.leaks:
        return []
    trained, held_out = parts.leaks[0]
    return [
        f"{len(parts.leaks)} pictures of the held-out splits are in the training split too, such as {held_out.name} = "
        f"{trained.name}: the result will look better than it is"
    ]


def memory_for_images() -> int:
    """Bytes that decoded images may take: a third of what is free now."""
    return this_machine().available // 3
