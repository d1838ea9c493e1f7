"""Run a checkpoint's model over samples: decoding in threads, batches on the device, results in order."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..checkpoint.contract import Checkpoint
from ..data.open import BadImage, Sample, read_image
from ..data.preprocess import Preprocess
from ..errors import VitrailError
from ..machine.facts import pick_device, pick_precision, usable_cores
from ..nn import AnyVisionModel
from ..progress import Track, silent

_BATCHES_AHEAD = 2
_MOST_THREADS = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a sample: its logits (K,), float32 on the CPU, or the reason why it has none."""

    sample: Sample
    logits: Float[Tensor, " K"] | None
    error: str | None = None


def compute_logits(
    checkpoint: Checkpoint,
    samples: Sequence[Sample],
    *,
    batch_size: int = 32,
    device: str = "auto",
    precision: str = "auto",
    progress: Track = silent,
) -> Iterator[Outcome]:
    """The outcome of every sample, in the order given, computed as they are asked for.

    The model is put in evaluation mode and moved to the device. At most three batches are in memory at a
    time.

    Args:
        checkpoint: the model and how an image becomes pixels.
        samples: what to read.
        batch_size: pictures a forward pass; the results do not depend on it, apart from rounding.
        device, precision: see `pick_device` and `pick_precision`.
        progress: told of each sample.
    """
    if batch_size < 1:
        raise VitrailError(f"batch size {batch_size} is not possible: use 1 or more")
    place = pick_device(device)
    cast = _autocast(place, pick_precision(precision, place))
    model = checkpoint.model.eval().to(place)
    outcomes = _outcomes(model, checkpoint.preprocess, samples, batch_size, place, cast)
    return iter(progress(outcomes, len(samples), "pictures"))


def _outcomes(
    model: AnyVisionModel,
    preprocess: Preprocess,
    samples: Sequence[Sample],
    batch_size: int,
    device: torch.device,
    cast: AbstractContextManager,
) -> Iterator[Outcome]:
    for group, decoded in _read_ahead(samples, batch_size, preprocess):
        good = [pixels for pixels in decoded if isinstance(pixels, Tensor)]
        logits = iter(_forward(model, torch.stack(good), device, cast) if good else ())
        for sample, pixels in zip(group, decoded, strict=True):
            if isinstance(pixels, Tensor):
                yield Outcome(sample, next(logits))
            else:
                yield Outcome(sample, None, pixels)


def _read_ahead(
    samples: Sequence[Sample], batch_size: int, preprocess: Preprocess
) -> Iterator[tuple[Sequence[Sample], list[Tensor | str]]]:
    """Groups of `batch_size` samples with the pixels of each, or the reason why there are none."""
    groups = [samples[start : start + batch_size] for start in range(0, len(samples), batch_size)]
    waiting: deque[list[Future[Tensor | str]]] = deque()
    with ThreadPoolExecutor(min(usable_cores(), _MOST_THREADS), "vitrail-decode") as pool:
        try:
            for ahead, group in enumerate(groups):
                waiting.append([pool.submit(_pixels, sample, preprocess) for sample in group])
                if ahead >= _BATCHES_AHEAD:
                    yield groups[ahead - _BATCHES_AHEAD], [done.result() for done in waiting.popleft()]
            for group in groups[-len(waiting) :] if waiting else ():
                yield group, [done.result() for done in waiting.popleft()]
        finally:  # also when the reader of the results stops half-way
            pool.shutdown(cancel_futures=True)


def _pixels(sample: Sample, preprocess: Preprocess) -> Tensor | str:
    try:
        return preprocess(read_image(sample, preprocess.channels))
    except BadImage as error:
        return error.reason or str(error)


def _forward(
    model: AnyVisionModel, pixels: Float[Tensor, "B C H W"], device: torch.device, cast: AbstractContextManager
) -> Float[Tensor, "B K"]:
    with torch.inference_mode(), cast:
        return model(pixels.to(device)).float().cpu()


def _autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager:
    return nullcontext() if precision == torch.float32 else torch.autocast(device.type, precision)
