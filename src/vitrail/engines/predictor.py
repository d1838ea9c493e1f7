"""The Predictor: an engine with preprocessing, names and a task; every command that runs a model goes through it."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from ..checkpoint.contract import Checkpoint
from ..data.preprocess import Preprocess
from ..errors import VitrailError
from ..tasks.registry import resolve
from ..tasks.task import Prediction, Task
from .engine import Engine, make_engine


class Predictor:
    """Decoded images -> predictions.

    Args:
        engine: runs the model.
        preprocess: from an image to pixels.
        task: what outputs mean.
        names: of the outputs.
        batch_size: images of a forward pass.

    Raises:
        VitrailError: a batch size below 1.
    """

    def __init__(
        self, engine: Engine, preprocess: Preprocess, task: Task, names: Sequence[str], *, batch_size: int = 32
    ) -> None:
        if batch_size < 1:
            raise VitrailError(f"batch size {batch_size} is not possible: use 1 or more")
        self.engine = engine
        self.preprocess = preprocess
        self.task = task
        self.names = tuple(names)
        self.batch_size = batch_size

    def __call__(self, images: Iterable[Tensor], *, top_k: int | None = None) -> list[Prediction]:
        """A prediction for each image (C, H, W), uint8 or float32, in order.

        Args:
            images: of any size, with the channels that the model takes.
            top_k: how many classes of each; all by default.
        """
        fitted = (self.preprocess.fit(image) for image in images)
        batches = iter(lambda: list(islice(fitted, self.batch_size)), [])
        outputs = self.outputs(torch.stack(batch) for batch in batches)
        return [prediction for output in outputs for prediction in self.task.decode(output, self.names, top_k)]

    def outputs(self, batches: Iterable[Tensor]) -> Iterator[Any]:
        """Fitted images (B, C, H, W) -> the model's output for each batch, float32 on the CPU.

        Which kernel multiplies a matrix follows its size, and the last digits of the result follow the kernel. So the
        last batch of several is filled up to the size of the others: what a command computes for an image does not hang
        on how many others there are.
        """
        full = 0
        for images in batches:
            count, full = len(images), max(full, len(images))
            output = self.engine(self.preprocess.normalise(_filled(images, full)))
            yield tree_map_only(Tensor, partial(_first, count=count), output)


def _filled(images: Tensor, count: int) -> Tensor:
    """Images up to this number, by repeating the last one."""
    if len(images) == count:
        return images
    return torch.cat([images, images[-1:].expand(count - len(images), *images.shape[1:])])


def _first(values: Tensor, count: int) -> Tensor:
    return values[:count]


def make_predictor(
    checkpoint: Checkpoint,
    *,
    batch_size: int = 32,
    engine: str = "torch",
    device: str = "auto",
    precision: str = "auto",
) -> Predictor:
    """The Predictor of a checkpoint; its model is put in evaluation mode and moved to the device.

    Args:
        checkpoint: model, preprocessing and names.
        batch_size: images of a forward pass.
        engine, device, precision: see `make_engine`.

    Raises:
        VitrailError: an unknown word, or a task that images cannot be predicted for; the message has the way out.
    """
    task = resolve(checkpoint.task)
    running = make_engine(checkpoint.model, engine=engine, device=device, precision=precision)
    return Predictor(running, checkpoint.preprocess, task, output_names(checkpoint), batch_size=batch_size)


def output_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The names of the outputs; their numbers where the checkpoint has no names."""
    return checkpoint.class_names or tuple(str(index) for index in range(checkpoint.model.config.num_outputs))
