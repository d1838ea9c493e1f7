"""Runs samples through a Predictor: decoding in threads, full batches, results in order, bounded memory."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..data.open import BadImage, Sample, read_image
from ..data.preprocess import Preprocess
from ..engines.predictor import Predictor, stack
from ..machine.facts import usable_cores
from ..progress import Track, silent

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
        output: model output for the samples without an error, every tensor float32 on the CPU; None if there are none.
    """

    samples: tuple[Sample, ...]
    errors: tuple[str | None, ...]
    output: Any | None

    @property
    def readable(self) -> list[Sample]:
        """Samples without an error, one for each row of `output`."""
        return [sample for sample, error in zip(self.samples, self.errors, strict=True) if error is None]


def stream(predictor: Predictor, samples: Sequence[Sample], *, progress: Track = silent) -> Iterator[Outcomes]:
    """Yield the outcomes of all samples, in order.

    Every batch but the last has `predictor.batch_size` readable images; a few batches are in memory at a time.

    Args:
        predictor: runs the model.
        samples: the samples to read.
        progress: counts the samples.
    """
    groups: deque[tuple[list[Sample], list[str | None]]] = deque()

    def batches() -> Iterator[Tensor]:
        for names, errors, images in _full_groups(predictor, samples, progress):
            groups.append((names, errors))
            if images:
                yield stack(images)

    outputs = predictor.outputs(batches())
    while True:
        # A group without readable images has no batch: it waits for the output of the next group.
        output = next(outputs, None)
        while groups:
            names, errors = groups.popleft()
            own = any(error is None for error in errors)
            yield Outcomes(tuple(names), tuple(errors), output if own else None)
        if output is None:
            return


def _full_groups(
    predictor: Predictor, samples: Sequence[Sample], progress: Track
) -> Iterator[tuple[list[Sample], list[str | None], list[Tensor]]]:
    """Yield groups of consecutive samples, their errors, and the images of those without an error."""
    size = predictor.batch_size
    names: list[Sample] = []
    errors: list[str | None] = []
    images: list[Tensor] = []
    for sample, found in progress(_read_ahead(samples, size, predictor.preprocess), len(samples), "images"):
        names.append(sample)
        errors.append(found if isinstance(found, str) else None)
        if isinstance(found, Tensor):
            images.append(found)
        if len(images) == size or len(names) == _MOST_UNREADABLE * size:
            yield names, errors, images
            names, errors, images = [], [], []
    if names:
        yield names, errors, images


def _read_ahead(
    samples: Iterable[Sample], batch_size: int, preprocess: Preprocess
) -> Iterator[tuple[Sample, Tensor | str]]:
    """Yield each sample with its resized image, or the reason why it cannot be read; read in threads, in order."""
    waiting: deque[tuple[Sample, Future[Tensor | str]]] = deque()
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


def _fitted(sample: Sample, preprocess: Preprocess) -> Tensor | str:
    try:
        return read_image(sample, preprocess.channels, then=preprocess.fit)
    except BadImage as error:
        return error.reason or str(error)
