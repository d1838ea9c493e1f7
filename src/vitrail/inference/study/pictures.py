"""A checkpoint and the pictures that it is put to the test with."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from ...checkpoint.contract import Checkpoint
from ...data.preprocess import Preprocess
from ...data.seeds import derive, permutation
from ...data.sources import Sample, open_source, read_image
from ...errors import VitrailError
from ...nn.model import AnyVisionModel
from ...planning.machine import usable_cores
from ...progress import Track, silent
from ..evaluate import match_classes
from ..held_out import Part, held_out

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

    def pixels(self, images: Sequence[Image]) -> Float[Tensor, "B C H W"]:
        """Normalised, on the model's device."""
        return self.normalise(pictures(images).to(self.device))

    def normalise(self, found: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """Pictures from 0 to 1 -> pixels; differentiable."""
        return self.preprocess.normalise(found)

    @torch.inference_mode()
    def logits(self, images: Sequence[Image]) -> Float[Tensor, "n K"]:
        """What the model says of these images, on the CPU in float32."""
        batches = range(0, len(images), self.batch_size)
        found = [self.model(self.pixels(images[start : start + self.batch_size])).float().cpu() for start in batches]
        return torch.cat(found)

    def accuracy(self, images: Sequence[Image]) -> float:
        """How often the model is right about the pictures as these images show them."""
        return (self.logits(images).argmax(dim=1) == self.labels).double().mean().item()


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
    """Read the samples, whose labels are counted as the checkpoint counts.

    Raises:
        VitrailError: a model of several labels a picture, or of other than one or three channels.
    """
    preprocess = checkpoint.preprocess
    if checkpoint.info.get("task") == "multi":
        raise VitrailError("this model tells several labels a picture: studies need one that tells one class")
    if preprocess.channels not in (1, 3):
        raise VitrailError(f"pictures of {preprocess.channels} channels cannot be studied: it takes 1 or 3")
    read = progress((_image(sample, preprocess) for sample in samples), len(samples), "read")
    model = checkpoint.model.to(device).eval()
    labels = torch.tensor([sample.labels[0] for sample in samples])
    return Subject(model, preprocess, tuple(read), labels, tuple(samples), batch_size)


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
        VitrailError: classes that a checkpoint does not know; none is left.
    """
    opened = open_source(source)
    chosen = []
    for checkpoint in checkpoints:
        own = held_out(
            match_classes(opened, checkpoint.class_names, "single"), checkpoint.path, split, progress=progress
        )
        chosen.append(({sample.name: sample for sample in own.samples if sample.labels}, own.note))
    first, note = chosen[0]
    names = [name for name in first if all(name in others for others, _ in chosen)]
    if not names:
        raise VitrailError(f"no picture of {source} is new to every model: give others, or use --split all")
    order = sorted(permutation(len(names), derive(seed, "pictures to study"))[:limit])
    kept = [names[place] for place in order]
    which = note if len(chosen) == 1 else f"{len(names)} pictures that are held out from every model"
    said = which if len(kept) == len(names) else f"{len(kept)} of {which}"
    return [[found[name] for name in kept] for found, _ in chosen], said


def on_all(change: Callable[[int, Image], Image], images: Sequence[Image]) -> list[Image]:
    """(number, image) -> another image, in threads."""
    with ThreadPoolExecutor(usable_cores(), "vitrail-study") as pool:
        return list(pool.map(change, range(len(images)), images))


def _image(sample: Sample, preprocess: Preprocess) -> Image:
    found = preprocess.fit(read_image(sample, preprocess.channels))
    if found.dtype != torch.uint8:  # 16-bit and float sources; what they hold beyond 0 to 1 is cut off
        found = (found.clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(found.movedim(0, 2).numpy())
