"""Device, number format and memory layout, in training and in inference."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from ..machine.facts import PRECISIONS, pick_device, pick_precision

Precision = Literal["auto", "float32", "bfloat16", "float16"]
"""Names of number formats; "auto" is bfloat16 if the device multiplies it in hardware, otherwise float32."""

M = TypeVar("M", bound=nn.Module)

__all__ = ["PRECISIONS", "Precision", "on_device", "pick_device", "pick_precision", "place_model", "reduced_precision"]


@contextmanager
def reduced_precision(device: torch.device, precision: torch.dtype) -> Iterator[None]:
    """Context manager: autocast with matrix products and convolutions in `precision`.

    Operations that need the range of float32 stay in it, and weights keep their dtype. With float32, autocast is off
    inside, even if it is on outside.
    """
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        yield


def place_model(model: M, device: torch.device) -> M:
    """Move a model to the device, in place, with 4-D weights in channels-last layout, which speeds up convolutions."""
    model.to(device)
    for param in (*model.parameters(), *model.buffers()):
        if param.ndim == 4:
            param.data = param.data.contiguous(memory_format=torch.channels_last)
    return model


def on_device(pixels: Tensor, device: torch.device) -> Tensor:
    """Move pixels to the device in the layout of `place_model`: (B, C, H, W) channels last; videos unchanged."""
    if pixels.ndim == 4:
        return pixels.to(device, memory_format=torch.channels_last, non_blocking=True)
    return pixels.to(device, non_blocking=True)
