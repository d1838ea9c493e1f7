"""`ServedModel`: the module that is exported, from images to the tensors of the task's predictions."""

from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from ..checkpoint.contract import Checkpoint
from ..errors import VitrailError
from ..rewrites.inference import for_inference
from ..tasks.registry import resolve


class ServedModel(nn.Module):
    """Resized images -> normalised pixels -> model -> tensors of the predictions, see `Task.decoded`.

    Args:
        checkpoint: its model, as `for_inference` makes it, its preprocessing and its task.
        dtype: of the images: uint8 (0 to 255), or float32 on the scale where a uint8 image is 0 to 1.

    Attributes:
        shape: of one sample: (C, H, W) at the size of the preprocessing, or (C, T, H, W) of a video.

    Raises:
        VitrailError: the checkpoint's task has no predictions for images.
    """

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype = torch.uint8) -> None:
        super().__init__()
        self.task = resolve(checkpoint.task)
        if len(checkpoint.config.example_inputs()) != 1:
            raise VitrailError("this model takes more than images: only models of images or videos can be exported")
        preprocess, sample = checkpoint.preprocess, checkpoint.config.pixels_shape
        self.model = for_inference(checkpoint.model, graph=True)
        self.dtype = dtype
        self.shape = (preprocess.channels, *sample[1:-2], *preprocess.image_size)
        std, mean = (torch.tensor(values, dtype=torch.float64) for values in (preprocess.std, preprocess.mean))
        each = (1, -1, *[1] * (len(self.shape) - 1))
        top = 255 if dtype == torch.uint8 else 1
        self.register_buffer("scale", (1 / (std * top)).float().view(each))
        self.register_buffer("shift", (mean / std).float().view(each))
        self.scale: Tensor
        self.shift: Tensor

    def forward(self, images: Shaped[Tensor, "B C *size"]) -> Any:
        pixels = images.to(torch.float32) * self.scale - self.shift
        return self.task.decoded(self.task.joined(self.model(pixels)))

    def example(self, batch: int = 2) -> Shaped[Tensor, "B C *size"]:
        """Random images, the same in every call."""
        values = torch.rand(batch, *self.shape, generator=torch.Generator().manual_seed(0))
        return (values * 255).to(torch.uint8) if self.dtype == torch.uint8 else values
