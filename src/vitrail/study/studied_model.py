"""A classifier with the labelled images that a study tests it on."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped, UInt8
from numpy import ndarray
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as tvf

from ..checkpoint.contract import Checkpoint
from ..data.fitted import read_fitted
from ..data.open import BadFile, Sample, Source, SourceLike, open_source
from ..data.preprocess import Preprocess
from ..data.seeds import derive, permutation
from ..engines.precision import on_device, reduced_precision
from ..engines.predictor import Predictor, batched, even_batches, make_predictor
from ..errors import VitrailError
from ..evaluation.held_out import held_out
from ..machine.facts import usable_cores
from ..nn import joined
from ..progress import Track, silent
from ..tasks.classification import Classification
from ..tasks.registry import resolve
from .only_images import require_images
from .options import HeldOutOptions, StudyOptions

Image = UInt8[ndarray, "H W C"]


@dataclass(frozen=True, slots=True)
class StudiedModel:
    """A classifier with the labelled images that it is tested on.

    Attributes:
        predictor: runs the model on images.
        model: the same model on the predictor's device, for tests that need gradients or hooks; see `precision`.
        fitted: the images, resized and cropped as in `vitrail eval`, (C, H, W).
        images: the same images as uint8, which corruptions and attacks change: 0 to 255 are the values `low` to `high`
            of 16-bit and float images.
        labels: (n,), class indices in the order of the model's outputs.
        samples: the samples of the images.
        low, high: 0 and 1, on the scale where a uint8 image is 0 to 1; the lowest and highest value of all images if
            some exceed this range.
    """

    predictor: Predictor
    model: nn.Module
    fitted: tuple[Shaped[Tensor, "C H W"], ...]
    images: tuple[Image, ...]
    labels: Int[Tensor, " n"]
    samples: tuple[Sample, ...]
    low: float = 0.0
    high: float = 1.0

    @property
    def batch_size(self) -> int:
        """Images per forward pass."""
        return self.predictor.batch_size

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.predictor.engine.device

    @property
    def majority_accuracy(self) -> float:
        """Accuracy of predicting the most common class for every image."""
        return self.labels.bincount().max().item() / len(self.labels)

    def precision(self) -> AbstractContextManager[None]:
        """Context manager with the number format of the predictor's engine, for calls of `model`."""
        return reduced_precision(self.device, self.predictor.engine.precision)

    def pixel_batches(self) -> Iterator[tuple[Float[Tensor, "B C H W"], int]]:
        """Yield batches of pixels on the model's device, and the number of own images in each; see `even_batches`."""
        for images, count in even_batches(batched(self.fitted, self.batch_size)):
            yield on_device(self.predictor.preprocess.normalise(images), self.device), count

    def answer(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Compute logits of images in [0, 1] on the model's device; differentiable."""
        with self.precision():
            return joined(self.model(self.predictor.preprocess.normalise(self.restored(images)))).float()

    @property
    def is_unit(self) -> bool:
        """Whether `low` and `high` are 0 and 1."""
        return (self.low, self.high) == (0.0, 1.0)

    def restored(self, images: Shaped[Tensor, "B C H W"]) -> Shaped[Tensor, "B C H W"]:
        """Return images, uint8 or float in [0, 1], with the values that the model knows: from `low` to `high`."""
        if self.is_unit:
            return images
        return tvf.to_dtype(images, torch.float32, scale=True) * (self.high - self.low) + self.low

    def clean_logits(self) -> Float[Tensor, "n K"]:
        """Logits of the unchanged images, equal to those of `vitrail eval`."""
        return self.batch_logits(batched(self.fitted, self.batch_size))

    def calibrated_logits(self) -> Float[Tensor, "n K"]:
        """`clean_logits`, divided by the checkpoint's temperature: their softmax are the predicted probabilities."""
        task = self.predictor.task
        assert isinstance(task, Classification)
        return task.scaled(self.clean_logits())

    def logits(self, images: Sequence[Image]) -> Float[Tensor, "n K"]:
        """Logits of changed images, on the CPU in float32."""
        batches = batched(map(channels_first, images), self.batch_size)
        return self.batch_logits(map(self.restored, batches))

    def batch_logits(self, batches: Iterable[Shaped[Tensor, "B C H W"]]) -> Float[Tensor, "n K"]:
        """Logits of batches of images, uint8 or float with their own values."""
        return torch.cat(list(self.predictor.outputs(batches)))

    def correct(self, logits: Float[Tensor, "n K"]) -> Float[Tensor, " n"]:
        """1 for every image whose label has the largest logit, otherwise 0."""
        return (logits.argmax(dim=1) == self.labels).double()


def channels_first(image: Image) -> UInt8[Tensor, "C H W"]:
    """Convert a uint8 image (H, W, C) to a tensor (C, H, W) that shares its memory."""
    return torch.from_numpy(image).movedim(2, 0)


def unit_range(images: Sequence[Image]) -> Float[Tensor, "B C H W"]:
    """Stack uint8 images to one float tensor in [0, 1]."""
    return torch.stack([channels_first(image) for image in images]).float() / 255


def studied_model(
    checkpoint: Checkpoint,
    samples: Sequence[Sample],
    options: StudyOptions | None = None,
    *,
    progress: Track = silent,
) -> StudiedModel:
    """Read the images of samples and return them with the checkpoint's model.

    Args:
        checkpoint: a classifier.
        samples: samples with labels in the order of the model's outputs; their images are read into memory.
        options: batch size, device and precision. Studies always run in PyTorch, since some tests need gradients or
            hooks.
        progress: reports the number of images read.
    """
    preprocess, options = checkpoint.preprocess, options or StudyOptions()
    predictor = make_predictor(
        checkpoint, batch_size=options.batch_size, engine="torch", device=options.device, precision=options.precision
    )
    read = list(progress((_fitted(sample, preprocess) for sample in samples), len(samples), "read"))
    low, high = _span(read)
    pairs = [_shared(fitted, low, high) for fitted in read]
    labels = torch.tensor([sample.labels[0] for sample in samples])
    fitted, images = zip(*pairs, strict=True)
    return StudiedModel(predictor, checkpoint.model, fitted, images, labels, tuple(samples), low, high)


def matched(opened: Source, checkpoint: Checkpoint) -> Source:
    """Return the source with its labels in the order of a checkpoint's classes.

    Raises:
        VitrailError: not a single-label classifier of images, images with other than one or three channels, or unknown
            classes; the message begins with the checkpoint's name.
    """
    name = str(checkpoint.path or checkpoint.info.get("architecture", "the model"))
    require_images(checkpoint.model.config, "studies")
    task = resolve(checkpoint.task) if checkpoint.task.name == Classification.name else None
    if not isinstance(task, Classification):
        raise VitrailError(f"{name} is for {checkpoint.task.name}: studies need a classifier, see `vitrail models`")
    if task.labels == "many":
        raise VitrailError(f"{name} is multi-label: studies need a classifier with one class for each image")
    if checkpoint.preprocess.channels not in (1, 3):
        raise VitrailError(
            f"{name} takes images of {checkpoint.preprocess.channels} channels: studies need a model for 1 or 3"
        )
    try:
        return task.match(opened, checkpoint.class_names)
    except VitrailError as error:
        raise VitrailError(f"{name}: {error}") from error


def drawn(samples: Sequence[Sample], limit: int | None, seed: int) -> list[Sample]:
    """Draw at most `limit` labelled samples by seed, in the order of the draw."""
    labelled = [sample for sample in samples if sample.labels]
    return [labelled[place] for place in permutation(len(labelled), seed)[:limit]]


def common_samples(
    checkpoints: Sequence[Checkpoint],
    source: SourceLike,
    options: HeldOutOptions,
    *,
    progress: Track = silent,
) -> tuple[list[list[Sample]], str, tuple[BadFile, ...]]:
    """Samples of the same images for each checkpoint, with labels in its order of classes; a description; bad files.

    Images that one of the checkpoints was trained on are left out for all.

    Raises:
        VitrailError: see `matched`; fewer than two images are left.
    """
    opened = open_source(source, strict=options.strict)
    sources = [matched(opened, checkpoint) for checkpoint in checkpoints]
    chosen = [
        held_out(
            own,
            checkpoint.path,
            options.split,
            skip_bad=options.skip_bad,
            channels=checkpoint.preprocess.channels,
            progress=progress,
        )
        for own, checkpoint in zip(sources, checkpoints, strict=True)
    ]
    labelled = [{sample.name: sample for sample in own.samples if sample.labels} for own in chosen]
    common = [sample for name, sample in labelled[0].items() if all(name in own for own in labelled)]
    notes = "; ".join(dict.fromkeys(own.note for own in chosen))
    if len(common) < 2:
        raise VitrailError(
            f"a study needs 2 or more labelled images that no model was trained on, {opened.name} has {len(common)} "
            f"({notes}): give others, or use --split all"
        )
    # In the source's order, as in `vitrail eval`, so that sums are equal to the last digit.
    chosen_names = {sample.name for sample in drawn(common, options.limit, derive(options.seed, "pictures to study"))}
    kept = [sample for sample in common if sample.name in chosen_names]
    few = f"{len(kept)} of " if len(kept) < len(common) else ""
    which = notes if len(labelled[0]) == len(common) else f"{len(common)} common images ({notes})"
    bad = dict.fromkeys(file for own in chosen for file in own.bad)
    return [[own[sample.name] for sample in kept] for own in labelled], few + which, tuple(bad)


def on_all(change: Callable[[int, Image], Image], images: Sequence[Image]) -> list[Image]:
    """Apply `change`, (index, image) -> image, to all images, in threads."""
    with ThreadPoolExecutor(usable_cores(), "vitrail-study") as pool:
        return list(pool.map(change, range(len(images)), images))


def _fitted(sample: Sample, preprocess: Preprocess) -> Tensor:
    return read_fitted(sample, preprocess).image


def _span(images: Sequence[Shaped[Tensor, "C H W"]]) -> tuple[float, float]:
    """0 and 1, or the lowest and highest value of all images if float images exceed this range."""
    ends = [(0.0, 1.0) if image.dtype == torch.uint8 else tuple(map(float, image.aminmax())) for image in images]
    low, high = min(least for least, _ in ends), max(most for _, most in ends)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, max(high, low + 1e-6 * max(1.0, abs(low))))


def _shared(fitted: Shaped[Tensor, "C H W"], low: float, high: float) -> tuple[Tensor, Image]:
    """Return a resized image as tensor and as uint8 array; for a uint8 image they share memory, if `low` is 0."""
    is_plain = fitted.dtype == torch.uint8 and (low, high) == (0.0, 1.0)
    scaled = fitted
    if not is_plain:
        unit = (tvf.to_dtype(fitted, torch.float32, scale=True) - low) / (high - low)
        scaled = (unit.clamp(0, 1) * 255).round().to(torch.uint8)
    image = np.ascontiguousarray(scaled.movedim(0, 2).numpy())
    return (channels_first(image) if is_plain else fitted), image
