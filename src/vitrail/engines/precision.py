"""The one rule for device, number format and memory layout, in training and in inference."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from ..machine.facts import PRECISIONS, pick_device, pick_precision

Precision = Literal["auto", "float32", "bfloat16", "float16"]
"""What a user may ask for; "auto" is bfloat16 where the device multiplies it in hardware, otherwise float32."""

M = TypeVar("M", bound=nn.Module)

__all__ = ["PRECISIONS", "Precision", "on_device", "pick_device", "pick_precision", "place_model", "reduced_precision"]


@contextmanager
def reduced_precision(device: torch.device, precision: torch.dtype) -> Iterator[None]:
    """Matrix products and convolutions in `precision`, everything that needs its range in float32 (autocast).

    Weights stay as they are stored. In float32 nothing is changed, whatever autocast was on outside.
    """
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        yield


def place_model(model: M, device: torch.device) -> M:
    """The model on the device, its 4-D weights in channels-last layout, which convolutions are faster in. In place."""
    model.to(device)
    for param in (*model.parameters(), *model.buffers()):
        if param.ndim == 4:
            param.data = param.data.contiguous(memory_format=torch.channels_last)
    return model


def on_device(pixels: Tensor, device: torch.device) -> Tensor:
    """Pixels on the device, in the layout of `place_model`: (B, C, H, W) channels last; videos as they are."""
    if pixels.ndim == 4:
        return pixels.to(device, memory_format=torch.channels_last, non_blocking=True)
    return pixels.to(device, non_blocking=True)
