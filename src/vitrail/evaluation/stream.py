"""Runs samples through a Predictor: decoding in threads, full batches, results in order, bounded memory."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ..data.fitted import Fitted, read_fitted
from ..data.open import BadImage, Sample
from ..data.preprocess import Preprocess
from ..engines.predictor import Predictor, stack
from ..machine.facts import usable_cores
from ..progress import Track, silent
from .ahead import ahead

_BATCHES_AHEAD = 2
_MOST_THREADS = 8
_MOST_UNREADABLE = 8
"""A batch with unreadable samples is run before it is full at this many times the batch size in samples."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Outputs and errors of consecutive samples.

    Attributes:
        samples: the samples, in order.
        errors: for each sample, why it could not be read, or None.
        sizes: (height, width) in pixels of each sample without an error.
        output: model output for the samples without an error, every tensor float32 on the CPU; None if there are none.
    """

    samples: tuple[Sample, ...]
    errors: tuple[str | None, ...]
    sizes: tuple[tuple[int, int], ...]
    output: Any | None

    @property
    def readable(self) -> list[Sample]:
        """Samples without an error, one for each row of `output`."""
        return [sample for sample, error in zip(self.samples, self.errors, strict=True) if error is None]


def stream(predictor: Predictor, samples: Sequence[Sample], *, progress: Track = silent) -> Iterator[Outcomes]:
    """Yield the outcomes of all samples, in order; the next are computed while the caller uses the present ones.

    Every batch but the last has `predictor.batch_size` readable images; a few batches are in memory at a time.

    Args:
        predictor: runs the model.
        samples: the samples to read.
        progress: counts the samples.
    """
    outcomes = _outcomes(predictor, samples, progress)
    # A GPU computes while the program goes on, and its graphs belong to a thread.
    return ahead(outcomes) if predictor.engine.device.type == "cpu" else outcomes


def _outcomes(predictor: Predictor, samples: Sequence[Sample], progress: Track) -> Generator[Outcomes, None, None]:
    groups: deque[Outcomes] = deque()

    def batches() -> Iterator[Tensor]:
        for pairs in _full_groups(predictor, samples, progress):
            images = [found.image for _, found in pairs if isinstance(found, Fitted)]
            groups.append(_without_output(pairs))
            if images:
                yield stack(images)

    outputs = predictor.outputs(batches())
    while True:
        # A group without readable images has no batch: it waits for the output of the next group.
        output = next(outputs, None)
        while groups:
            group = groups.popleft()
            yield replace(group, output=output) if group.sizes else group
        if output is None:
            return


_Pairs = list[tuple[Sample, Fitted | str]]


def _without_output(pairs: _Pairs) -> Outcomes:
    """The outcomes of a group that has not been run yet."""
    errors = tuple(found if isinstance(found, str) else None for _, found in pairs)
    sizes = tuple(found.size for _, found in pairs if isinstance(found, Fitted))
    return Outcomes(tuple(sample for sample, _ in pairs), errors, sizes, None)


def _full_groups(predictor: Predictor, samples: Sequence[Sample], progress: Track) -> Iterator[_Pairs]:
    """Yield groups of consecutive samples, each with its image or the reason why it cannot be read."""
    size, readable = predictor.batch_size, 0
    pairs: _Pairs = []
    for sample, found in progress(_read_ahead(samples, size, predictor.preprocess), len(samples), "images"):
        pairs.append((sample, found))
        readable += isinstance(found, Fitted)
        if readable == size or len(pairs) == _MOST_UNREADABLE * size:
            yield pairs
            pairs, readable = [], 0
    if pairs:
        yield pairs


def _read_ahead(
    samples: Iterable[Sample], batch_size: int, preprocess: Preprocess
) -> Iterator[tuple[Sample, Fitted | str]]:
    """Yield each sample with its resized image, or the reason why it cannot be read; read in threads, in order."""
    waiting: deque[tuple[Sample, Future[Fitted | str]]] = deque()
    with ThreadPoolExecutor(min(usable_cores(), _MOST_THREADS), "vitrail-decode") as pool:
        try:
            for sample in samples:
                waiting.append((sample, pool.submit(_fitted, sample, preprocess)))
                if len(waiting) > _BATCHES_AHEAD * batch_size:
                    first, done = waiting.popleft()
                    yield first, done.result()
            while waiting:
                first, done = waiting.popleft()
                yield first, done.result()
        finally:  # also when the consumer stops half-way
            pool.shutdown(cancel_futures=True)


def _fitted(sample: Sample, preprocess: Preprocess) -> Fitted | str:
    if sample.clip and preprocess.frames is None:
        return "a clip, and the model takes images"
    try:
        return read_fitted(sample, preprocess)
    except BadImage as error:
        return error.reason or str(error)
