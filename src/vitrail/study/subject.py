"""A checkpoint and the pictures that it is put to the test with."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from ..checkpoint.contract import Checkpoint
from ..data.open import Sample, Source, open_source, read_image
from ..data.preprocess import Preprocess
from ..data.seeds import derive, permutation
from ..errors import VitrailError
from ..evaluation.evaluate import match_classes
from ..evaluation.held_out import Part, held_out
from ..machine.facts import usable_cores
from ..models.fields import check_classifies
from ..nn import AnyVisionModel
from ..progress import Track, silent
from ..task_spec import MULTI_LABEL

Image = UInt8[ndarray, "H W C"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A classifier in evaluation mode, on its device, with the pictures to ask it about.

    Attributes:
        model: (B, C, H, W) -> logits (B, K).
        preprocess: how an image becomes pixels.
        images: resized and cropped as the model takes them, before they are normalised; uint8 (H, W, C).
        labels: (n,), counted as the model's logits are.
        samples: what the images were read from.
        batch_size: pictures a forward pass.
    """

    model: AnyVisionModel
    preprocess: Preprocess
    images: tuple[Image, ...]
    labels: Int[Tensor, " n"]
    samples: tuple[Sample, ...]
    batch_size: int = 32

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def by_habit(self) -> float:
        """How often one is right who always names the most common class."""
        return self.labels.bincount().max().item() / len(self.labels)

    def pixels(self, images: Sequence[Image]) -> Float[Tensor, "B C H W"]:
        """Normalised, on the model's device."""
        return self.preprocess.normalise(pictures(images).to(self.device))

    def answer(self, found: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        """Pictures from 0 to 1, on the model's device -> logits; differentiable."""
        return self.model(self.preprocess.normalise(found))

    @torch.inference_mode()
    def logits(self, images: Sequence[Image]) -> Float[Tensor, "n K"]:
        """What the model says of these images, on the CPU in float32."""
        batches = range(0, len(images), self.batch_size)
        found = [self.model(self.pixels(images[start : start + self.batch_size])).float().cpu() for start in batches]
        return torch.cat(found)

    def right(self, images: Sequence[Image]) -> Float[Tensor, " n"]:
        """For every picture, as these images show it: 1 where the model names its label, else 0."""
        return (self.logits(images).argmax(dim=1) == self.labels).double()


def pictures(images: Sequence[Image]) -> Float[Tensor, "B C H W"]:
    """Images of bytes as one tensor from 0 to 1."""
    return torch.from_numpy(np.stack(images)).movedim(3, 1).float() / 255


def subject(
    checkpoint: Checkpoint,
    samples: Sequence[Sample],
    *,
    batch_size: int = 32,
    device: str | torch.device = "cpu",
    progress: Track = silent,
) -> Subject:
    """Read the samples, whose labels are counted as the checkpoint counts."""
    preprocess = checkpoint.preprocess
    read = progress((_image(sample, preprocess) for sample in samples), len(samples), "read")
    model = checkpoint.model.to(device).eval()
    labels = torch.tensor([sample.labels[0] for sample in samples])
    return Subject(model, preprocess, tuple(read), labels, tuple(samples), batch_size)


def check_amounts(limit: int | None, batch_size: int) -> None:
    """Raise a VitrailError unless there are two pictures or more, and one a forward pass."""
    if limit is not None and limit < 2:
        raise VitrailError(f"limit {limit} is too few pictures to study: use 2 or more, or all")
    if batch_size < 1:
        raise VitrailError(f"batch size {batch_size} is not possible: use 1 or more")


def matched(opened: Source, checkpoint: Checkpoint) -> Source:
    """The source with its labels counted as a checkpoint counts them.

    Raises:
        VitrailError: no classifier of one class a picture, pictures of other than one or three channels, classes that
            it does not know; the sentence begins with the checkpoint's name.
    """
    name = str(checkpoint.path or checkpoint.info.get("architecture", "the model"))
    check_classifies(checkpoint.model.config, name)
    if checkpoint.task == MULTI_LABEL:
        raise VitrailError(f"{name} tells several labels a picture: studies need a model that tells one class")
    if checkpoint.preprocess.channels not in (1, 3):
        raise VitrailError(
            f"{name} takes pictures of {checkpoint.preprocess.channels} channels: studies damage pictures of 1 or 3"
        )
    try:
        return match_classes(opened, checkpoint.class_names, "single")
    except VitrailError as error:
        raise VitrailError(f"{name}: {error}") from error


def drawn(samples: Sequence[Sample], limit: int | None, seed: int) -> list[Sample]:
    """At most `limit` of the samples that have a label, drawn by seed, in the order that they were drawn in."""
    labelled = [sample for sample in samples if sample.labels]
    return [labelled[place] for place in permutation(len(labelled), seed)[:limit]]


def common_samples(
    checkpoints: Sequence[Checkpoint],
    source: str,
    *,
    split: Part = "auto",
    limit: int | None = None,
    seed: int = 0,
    progress: Track = silent,
) -> tuple[list[list[Sample]], str]:
    """(the same pictures for each checkpoint, with labels as it counts them; a sentence that says which they are).

    Pictures that one of the checkpoints has learned from are left out for all.

    Raises:
        VitrailError: see `matched`; fewer than two pictures are left.
    """
    opened = open_source(source)
    sources = [matched(opened, checkpoint) for checkpoint in checkpoints]
    chosen = [
        held_out(own, checkpoint.path, split, progress=progress)
        for own, checkpoint in zip(sources, checkpoints, strict=True)
    ]
    labelled = [{sample.name: sample for sample in own.samples if sample.labels} for own in chosen]
    common = [sample for name, sample in labelled[0].items() if all(name in own for own in labelled)]
    notes = "; ".join(dict.fromkeys(own.note for own in chosen))
    if len(common) < 2:
        raise VitrailError(
            f"a study needs 2 pictures or more with labels that are new to every model, {source} has {len(common)} "
            f"({notes}): give others, or use --split all"
        )
    kept = drawn(common, limit, derive(seed, "pictures to study"))
    few = f"{len(kept)} of " if len(kept) < len(common) else ""
    which = notes if len(labelled[0]) == len(common) else f"{len(common)} common pictures ({notes})"
    return [[own[sample.name] for sample in kept] for own in labelled], few + which


def on_all(change: Callable[[int, Image], Image], images: Sequence[Image]) -> list[Image]:
    """(number, image) -> another image, in threads."""
    with ThreadPoolExecutor(usable_cores(), "vitrail-study") as pool:
        return list(pool.map(change, range(len(images)), images))


def _image(sample: Sample, preprocess: Preprocess) -> Image:
    found = preprocess.fit(read_image(sample, preprocess.channels))
    if found.dtype != torch.uint8:  # 16-bit and float sources; what they hold beyond 0 to 1 is cut off
        found = (found.clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(found.movedim(0, 2).numpy())
