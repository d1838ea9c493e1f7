"""Training data: a surveyed source with its splits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

from torch import Tensor

from ..data.annotation_sizes import fit_annotations
from ..data.decode import unchanged
from ..data.memory import remember, shrink
from ..data.open import Sample, SourceLike, open_source, read_image
from ..data.preprocess import Preprocess
from ..data.seeds import permutation
from ..data.split import Splits, split
from ..data.survey import Facts, Limit, Survey, survey
from ..data.targets import Targets
from ..data.time_window import KEPT
from ..machine.devices import this_machine
from ..progress import Track, silent
from ..task_spec import TaskSpec
from ..tasks.registry import resolve
from ..tasks.task import Task

_FEW_FRAMES = 4
"""Frames of a clip on which means and deviations are measured."""

MOST_VAL, MOST_TEST = 2_500, 10_000
"""Largest validation and test splits made here: enough to choose and evaluate a checkpoint."""


@dataclass(frozen=True)
class _Reader:
    """Index -> image; a class and not a closure, so that worker processes can unpickle it."""

    samples: tuple[Sample, ...]
    channels: int
    then: Callable[[Tensor], Tensor] = unchanged
    least: int | None = None
    frames: int | None = None

    def __call__(self, index: int) -> Tensor:
        sample = replace(self.samples[index], strict=False)  # the survey has checked every file
        return read_image(sample, self.channels, least=self.least, frames=self.frames, then=self.then)


@dataclass(frozen=True)
class SplitData:
    """The samples of one split.

    Attributes:
        samples: in the source's order.
        facts: size and digest of each sample.
    """

    samples: tuple[Sample, ...]
    facts: tuple[Facts, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def sampled(self, most: int | None, seed: int) -> "SplitData":
        """A random sample of this many of the samples, in their order; all of them if there are no more."""
        if most is None or len(self) <= most:
            return self
        kept = sorted(permutation(len(self), seed)[:most])
        return SplitData(tuple(self.samples[i] for i in kept), tuple(self.facts[i] for i in kept))

    @property
    def names(self) -> list[str]:
        """Names of the samples for messages and tables."""
        return [sample.name for sample in self.samples]

    def reader(self, channels: int) -> Callable[[int], Tensor]:
        """Function index -> image with this many channels, or a few frames of a clip, read from its file each time."""
        return _Reader(self.samples, channels, frames=_FEW_FRAMES)

    def shrunk_reader(self, preprocess: Preprocess, memory: int) -> Callable[[int], Tensor]:
        """Function index -> image whose shorter side is at most twice the training size, kept in memory if all fit.

        Of a clip it has at most `KEPT` times the model's frames.
        """
        side, frames = 2 * min(preprocess.image_size), _kept(preprocess)
        read = _Reader(self.samples, preprocess.channels, partial(shrink, side=side), least=side, frames=frames)
        sizes = [
            round(facts.height * facts.width * min(1.0, side / min(facts.height, facts.width)) ** 2)
            for facts in self.facts
        ]
        return remember(read, self._bytes(sizes, preprocess.channels, frames), memory)

    def fitted_reader(
        self, preprocess: Preprocess, memory: int, *, all_frames: bool = False
    ) -> Callable[[int], Tensor]:
        """Function index -> image resized and cropped to the model's size, kept in memory if all fit.

        A clip has the model's frames, or with `all_frames` up to `KEPT` times as many.
        """
        height, width = preprocess.image_size
        frames = _kept(preprocess) if all_frames else preprocess.frames
        fit = preprocess.fit_sides if all_frames else preprocess.fit
        read = _Reader(self.samples, preprocess.channels, fit, preprocess.enough, frames)
        return remember(read, self._bytes([height * width] * len(self), preprocess.channels, frames), memory)

    def _bytes(self, sizes: Sequence[int], channels: int, frames: int | None) -> list[int]:
        """Bytes of images with so many pixels each, or of clips of at most so many frames."""
        return [
            size * channels * facts.value_bytes * min(facts.frames, frames or 1)
            for size, facts in zip(sizes, self.facts, strict=True)
        ]


@dataclass(frozen=True)
class TrainingData:
    """A source as a run uses it: task, splits and properties of the images.

    Attributes:
        name: the source as the user wrote it.
        task: task of the labels; None for images without labels.
        names: names of the outputs (classes or numbers); empty without labels.
        channels: channels of the images.
        side: median of the shorter sides in pixels.
        train, val, test: the splits; `test` may be empty.
        survey: facts about all files, bad ones included.
        warnings: sentences about problems that do not prevent training.
    """

    name: str
    task: Task | None
    names: tuple[str, ...]
    channels: int
    side: int
    train: SplitData
    val: SplitData
    test: SplitData
    survey: Survey
    warnings: tuple[str, ...] = ()

    @property
    def clips(self) -> bool:
        """Whether the samples are clips, not images."""
        return any(sample.clip for sample in self.survey.source.samples)

    @property
    def held_out(self) -> tuple[str, SplitData]:
        """Name and samples of the split for the final evaluation: test, or val if there is no test split."""
        return ("test", self.test) if len(self.test) else ("val", self.val)

    def targets(self, part: SplitData) -> Any:
        """Targets of a split, see `Task.targets`; None without labels."""
        return None if self.task is None else self.task.targets(part.samples, self.names)

    def target_reader(self, part: SplitData) -> Targets | None:
        """Function index -> target of a sample of a split, see `Task.target_reader`; None without labels."""
        return None if self.task is None else self.task.target_reader(part.samples, self.names)

    def split_rows(self) -> list[tuple[str, str, str, str]]:
        """(name, digest, split, label) of every image, for splits.csv."""
        return [
            (sample.name, facts.digest, name, self._label(sample))
            for name, part in (("train", self.train), ("val", self.val), ("test", self.test))
            for sample, facts in zip(part.samples, part.facts, strict=True)
        ]

    def _label(self, sample: Sample) -> str:
        return "" if self.task is None else self.task.written(sample, self.names)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a source is read for a run; recorded, so that a resumed run reads it in the same way.

    Attributes:
        labelled: use its labels; if False, all images are used, labelled or not.
        task: task of the labels; None: inferred from them.
        val, test: fractions of the splits that the source does not have itself.
        skip_bad: leave out files that can't be read.
        strict: damaged files that can still be decoded are bad too.
        limit: reads only a sample of the images; None: all.
    """

    labelled: bool = True
    task: TaskSpec | None = None
    val: float = 0.1
    test: float = 0.1
    skip_bad: bool = False
    strict: bool = True
    limit: Limit | None = None


def read_data(source: SourceLike, reading: Reading, *, progress: Track = silent) -> TrainingData:
    """Open, survey and split a source.

    Raises:
        VitrailError: there is nothing to train on, or there are bad files without `skip_bad`; the message names them.
    """
    opened = open_source(source, labelled=reading.labelled, task=reading.task, strict=reading.strict)
    found = fit_annotations(survey(opened, limit=reading.limit, progress=progress))
    found.require_clean(skip_bad=reading.skip_bad)
    task = resolve(found.source.task) if reading.labelled else None
    if task is not None:
        task.check(found)
    count = max(1, len(found.facts))
    shares = {"val": min(reading.val, MOST_VAL / count), "test": min(reading.test, MOST_TEST / count)}
    parts = split(found, **shares, classes_of=task.classes_of if task else _all_alike)
    facts = {id(sample): fact for sample, fact in zip(found.source.samples, found.facts, strict=True)}

    def part(samples: Sequence[Sample]) -> SplitData:
        return SplitData(tuple(samples), tuple(facts[id(sample)] for sample in samples))

    names = found.source.class_names
    return TrainingData(
        name=opened.name,
        task=task.fitted(parts.train, names) if task else None,
        names=names,
        channels=found.channels,
        side=round(median(min(fact.height, fact.width) for fact in found.facts)),
        train=part(parts.train),
        val=part(parts.val),
        test=part(parts.test),
        survey=found,
        warnings=(*found.source.notes, *found.warnings, *_leak_warning(parts), *_untrained_warning(parts, names)),
    )


def _kept(preprocess: Preprocess) -> int | None:
    """Number of frames of a clip that training keeps; None for images."""
    return None if preprocess.frames is None else KEPT * preprocess.frames


def _all_alike(sample: Sample) -> tuple[int, ...]:
    return (0,)


def _leak_warning(parts: Splits) -> list[str]:
    if not parts.leaks:
        return []
    trained, held_out = parts.leaks[0]
    return [
        f"{len(parts.leaks)} images of the held-out splits are in the training split too, such as {held_out.name} = "
        f"{trained.name}: results will be too optimistic"
    ]


def _untrained_warning(parts: Splits, names: Sequence[str]) -> list[str]:
    if not parts.untrained:
        return []
    some = ", ".join(names[label] for label in parts.untrained[:5])
    more = f" and {len(parts.untrained) - 5} more" if len(parts.untrained) > 5 else ""
    return [
        f"val or test has objects of {some}{more}, but train has none: they will not be found and lower the average "
        "precision; move images with them to train"
    ]


def memory_for_images() -> int:
    """Bytes that decoded images may use: a third of the free memory."""
    return this_machine().available // 3
