"""The user's images that settings are compared on."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

from ..checkpoint.contract import Checkpoint
from ..data.fitted import read_fitted
from ..data.open import BadImage, Sample, SourceLike, open_source
from ..data.seeds import derive, permutation
from ..errors import VitrailError
from ..evaluation.held_out import held_out
from ..evaluation.predict import named_images
from ..progress import Track, silent
from ..tasks.registry import resolve

_LEAST_SPREAD = 1e-3
"""Deviation of the values over all images, on the scale 0 to 1, below which they are all alike."""


@dataclass(frozen=True, slots=True)
class TestImages:
    """Images, resized and cropped, with their targets if the source has labels of the model.

    Attributes:
        images: (C, H, W) each, as `Preprocess.fit` returns them.
        samples: where they came from.
        targets: `Task.targets` of all; None without labels.
        note: a phrase that describes them.
    """

    images: tuple[Tensor, ...]
    samples: tuple[Sample, ...]
    targets: Any
    note: str

    @property
    def are_alike(self) -> bool:
        """Whether the images hardly differ, so that nothing can be measured on them (all black, say)."""
        stacked = torch.stack([image.float() / (255 if image.dtype == torch.uint8 else 1) for image in self.images])
        return bool(stacked.std(dim=0, correction=0).mean() < _LEAST_SPREAD)


def read_test_images(
    checkpoint: Checkpoint, source: SourceLike, limit: int, seed: int, *, progress: Track = silent
) -> TestImages:
    """Read images of a source that the checkpoint was not trained on; of a source without labels any.

    Of equal images only the first is kept: thirty black ones and a photograph measure what two images measure.

    Args:
        checkpoint: its preprocessing and task are used.
        source: see `open_source`.
        limit: most images, drawn at random.
        seed: of the draw.
        progress: counts the images.

    Raises:
        VitrailError: no image can be read.
    """
    samples, labelled, note = _samples(checkpoint, source, progress)
    chosen = [samples[place] for place in permutation(len(samples), derive(seed, "optimize"))[:limit]]
    kept: list[Sample] = []
    images: list[Tensor] = []
    fault: BadImage | None = None
    seen: set[bytes] = set()
    for sample in progress(chosen, len(chosen), "images"):
        try:
            image = read_fitted(sample, checkpoint.preprocess).image
        except BadImage as error:  # a damaged file: the others are enough for a comparison
            fault = fault or error
            continue
        digest = sha256(image.contiguous().numpy().tobytes()).digest()
        if digest not in seen:
            seen.add(digest)
            images.append(image)
            kept.append(sample)
    if not images:
        first = "" if fault is None else f" ({fault})"
        raise VitrailError(f"no image of {source} can be used{first}: give other images")
    targets = resolve(checkpoint.task).targets(kept, checkpoint.class_names) if labelled else None
    count = f"{len(images):,} image{'s' * (len(images) != 1)}"
    return TestImages(tuple(images), tuple(kept), targets, f"{count}: {note}" if note else count)


def _samples(checkpoint: Checkpoint, source: SourceLike, progress: Track) -> tuple[tuple[Sample, ...], bool, str]:
    """Samples, whether they have labels of the model, and a phrase that describes them."""
    try:
        matched = resolve(checkpoint.task).match(open_source(source, prefer=checkpoint.task), checkpoint.class_names)
    except VitrailError:  # labels of something else, or none: predictions are compared with those of the model itself
        return named_images(source).samples, False, "without labels of this model"
    found = held_out(matched, checkpoint.path, skip_bad=True, progress=progress)
    return found.samples, True, found.note.partition(": ")[2]
