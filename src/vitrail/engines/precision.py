"""Device, number format and memory layout, in training and in inference."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from ..errors import VitrailError, nearest
from ..machine.devices import FLOAT8, PRECISIONS, has_float8, pick_device, pick_precision

Precision = Literal["auto", "float32", "bfloat16", "float16"]
"""Names of number formats; "auto" is bfloat16 if the device multiplies it in hardware, otherwise float32."""

EnginePrecision = Literal["auto", "float32", "bfloat16", "float16", "float8"]
"""Number formats of engines: "float8" has 8-bit operands in linear layers, on GPUs that multiply them, and bfloat16
elsewhere; see `engines.float8`."""

M = TypeVar("M", bound=nn.Module)

__all__ = [
    "FLOAT8",
    "PRECISIONS",
    "EnginePrecision",
    "Precision",
    "autocast_format",
    "on_device",
    "pick_device",
    "pick_engine_precision",
    "pick_precision",
    "place_model",
    "reduced_precision",
]


def pick_engine_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype of matrix products for a name of `EnginePrecision`; see `pick_precision`.

    Raises:
        VitrailError: unknown name, or "float8" on a device that does not multiply it.
    """
    if name != "float8":
        if name != "auto" and name not in PRECISIONS:
            raise VitrailError(f"there is no precision {name!r}: {nearest(name, ['auto', *PRECISIONS, 'float8'])}")
        return pick_precision(name, device)
    if not has_float8(device):
        raise VitrailError(
            f"there is no precision 'float8' on {_device_name(device)}: it needs an NVIDIA GPU of capability 8.9 or "
            "more (Ada, Hopper) and a PyTorch with its kernels; use --precision bfloat16"
        )
    return FLOAT8


def _device_name(device: torch.device) -> str:
    if device.type != "cuda":
        return "the CPU"
    major, minor = torch.cuda.get_device_capability(device)
    return f"{torch.cuda.get_device_name(device)} (capability {major}.{minor})"


def autocast_format(precision: torch.dtype) -> torch.dtype:
    """Number format of autocast: bfloat16 for float8."""
    return torch.bfloat16 if precision == FLOAT8 else precision


@contextmanager
def reduced_precision(device: torch.device, precision: torch.dtype) -> Iterator[None]:
    """Context manager: autocast with matrix products and convolutions in `precision`.

    Operations that need the range of float32 stay in it, and weights keep their dtype. With float32, autocast is off
    inside, even if it is on outside. With float8 it is in bfloat16: layers with 8-bit operands are modules of their
    own, see `engines.float8`.
    """
    with torch.autocast(device.type, autocast_format(precision), enabled=precision != torch.float32):
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
