"""The Predictor: engine, preprocessing, output names and task. Every command that runs a model uses it."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, TypedDict

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from ..checkpoint.contract import Checkpoint
from ..data.in_memory import ImageLike
from ..data.preprocess import Preprocess
from ..data.resize import to_float
from ..errors import VitrailError
from ..tasks.outcomes import Prediction
from ..tasks.placed import PlacedTask
from ..tasks.registry import resolve_for
from ..tasks.task import Task
from .engine import Engine
from .setting import engine_for
from .tta import TTA


class Running(TypedDict, total=False):
    """How a model runs: arguments of `make_predictor`."""

    batch_size: int
    engine: str
    device: str
    precision: str
    tta: str


class Predictor:
    """Predicts from decoded images.

    Args:
        engine: runs the model.
        preprocess: image -> pixels.
        task: decodes the outputs.
        names: names of the outputs.
        batch_size: images per forward pass.
        tta: test-time augmentation, the mean of the predictions for several views: "flip" of each image and its mirror
            image, at twice the cost; "crops" of both also shifted towards two corners, at six times the cost.

    Raises:
        VitrailError: a batch size below 1, or another `tta`.
    """

    def __init__(
        self,
        engine: Engine,
        preprocess: Preprocess,
        task: Task,
        names: Sequence[str],
        *,
        batch_size: int = 32,
        tta: str = "none",
    ) -> None:
        if batch_size < 1:
            raise VitrailError(f"batch size {batch_size} is not possible: use 1 or more")
        if tta not in TTA:
            raise VitrailError(f"tta {tta!r} is not possible: use {', '.join(TTA)}")
        if tta != "none" and isinstance(task, PlacedTask):  # a mirrored view has its objects and pixels elsewhere
            raise VitrailError(f"{task.name} has no test-time augmentation: leave --tta out")
        self.tta = tta
        self.engine = engine
        self.preprocess = preprocess
        self.task = task
        self.names = tuple(names)
        self.batch_size = batch_size

    def with_task(self, task: Task) -> "Predictor":
        """The same predictor with another task for the outputs."""
        found = copy.copy(self)
        found.task = task
        return found

    def __call__(self, images: Iterable[ImageLike], *, top_k: int | None = None) -> list[Prediction]:
        """Return a prediction for each image, in order.

        Args:
            images: Pillow images, arrays (H, W) or (H, W, C), or tensors (C, H, W), of any size; for a model of clips
                see `clip_tensor`.
            top_k: number of classes of each prediction; all by default.

        Raises:
            VitrailError: an argument is not an image, or `top_k` is below 1.
        """
        check_top_k(top_k)
        sizes: list[tuple[int, int]] = []

        def fitted() -> Iterator[Tensor]:
            for given in images:
                image = self.preprocess.tensor(given)
                sizes.append((image.shape[-2], image.shape[-1]))
                yield self.preprocess.fit(image)

        decoded = [
            prediction
            for output in self.outputs(batched(fitted(), self.batch_size))
            for prediction in self.task.decode(output, self.names, top_k)
        ]
        return [replace(prediction, size=size) for prediction, size in zip(decoded, sizes, strict=True)]

    def outputs(self, batches: Iterable[Shaped[Tensor, "B C H W"]]) -> Iterator[Any]:
        """Yield the model's output for each batch of resized images, see `Task.joined`; float32 on the CPU.

        Args:
            batches: uint8, or float32 in [0, 1], at the size of `preprocess`; see `even_batches`.

        Raises:
            VitrailError: an output is not finite though the pixels are.
        """
        for images, count in even_batches(batches):
            pixels = self.preprocess.for_engine(images)
            output = first_rows(self._run(pixels), count)
            if not _is_finite(output) and _is_finite(pixels):
                raise VitrailError(
                    "the model's outputs are not finite: its weights are damaged, or its training diverged; use "
                    "another checkpoint, or with --precision float16 try float32"
                )
            yield output

    def _run(self, pixels: Tensor) -> Any:
        outputs = [self.task.joined(self.engine(view)) for view in TTA[self.tta](pixels)]
        return outputs[0] if len(outputs) == 1 else self.task.merged(outputs)


def _is_finite(values: Any) -> bool:
    """Whether every tensor of a pytree has only finite values."""
    return all(bool(torch.isfinite(leaf).all()) for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


def check_top_k(top_k: int | None) -> None:
    """Raise VitrailError for a number of classes below 1."""
    if top_k is not None and top_k < 1:
        raise VitrailError(f"top_k {top_k} is not possible: use 1 or more, or leave it out for all classes")


def batched(images: Iterable[Shaped[Tensor, "C H W"]], size: int) -> Iterator[Shaped[Tensor, "B C H W"]]:
    """Group images of one size into batches of `size`; the last batch may be smaller."""
    rest = iter(images)
    while group := list(islice(rest, size)):
        yield stack(group)


def stack(images: Sequence[Shaped[Tensor, "C H W"]]) -> Shaped[Tensor, "B C H W"]:
    """Stack images of one size; if only some of them are uint8, all become float32 in [0, 1]."""
    if len({image.dtype for image in images}) > 1:
        images = [to_float(image) for image in images]
    return torch.stack(list(images))


def even_batches(batches: Iterable[Shaped[Tensor, "B C H W"]]) -> Iterator[tuple[Shaped[Tensor, "F C H W"], int]]:
    """Yield each batch, padded to the size of the largest before it, and its own number of images.

    A matrix product chooses its kernel by its size, and the last digits of the result depend on the kernel. The last of
    several batches is therefore padded with copies of its last image, so that an image's result does not depend on the
    number of other images.
    """
    full = 0
    for images in batches:
        count = len(images)
        full = max(full, count)
        if count < full:
            images = torch.cat([images, images[-1:].expand(full - count, *images.shape[1:])])
        yield images, count


def first_rows(output: Any, count: int) -> Any:
    """The first `count` rows of every tensor in a pytree."""
    return tree_map_only(Tensor, lambda tensor: tensor[:count], output)


def make_predictor(
    checkpoint: Checkpoint,
    *,
    batch_size: int = 32,
    engine: str = "torch",
    device: str = "auto",
    precision: str = "auto",
    tta: str = "none",
) -> Predictor:
    """Build the Predictor of a checkpoint; its model is set to evaluation mode and moved to the device.

    Args:
        checkpoint: model, preprocessing and names.
        batch_size: images per forward pass.
        engine, device, precision: see `engine_for`.
        tta: "flip" or "crops" takes the mean of the predictions for several views of each image, see `Predictor`.

    Raises:
        VitrailError: unknown name, or the checkpoint's task has no predictions for images.
    """
    found = resolve_for(checkpoint.task, checkpoint.preprocess.frames)
    task = found.bound(checkpoint.config, checkpoint.tokenizer, checkpoint.model)
    running = engine_for(checkpoint, engine=engine, device=device, precision=precision, vectors=task.by_vectors)
    return Predictor(running.engine, running.preprocess, task, output_names(checkpoint), batch_size=batch_size, tta=tta)


def output_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Names of the outputs; "0", "1", ... if the checkpoint has none."""
    return checkpoint.class_names or tuple(str(index) for index in range(checkpoint.model.config.num_outputs))
