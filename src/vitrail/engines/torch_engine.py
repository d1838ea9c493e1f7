"""The PyTorch engine: eager mode with autocast."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ..machine.allocator import keep_freed_memory
from .precision import on_device, pick_device, pick_precision, place_model, reduced_precision


class TorchEngine:
    """Runs a model eagerly, without gradients.

    Args:
        model: set to evaluation mode and moved to the device.
        device: see `pick_device`.
        precision: see `pick_precision`.
    """

    def __init__(self, model: nn.Module, device: str = "auto", precision: str = "auto") -> None:
        self.device = pick_device(device)
        self.precision = pick_precision(precision, self.device)
        self.model = place_model(model.eval(), self.device)
        keep_freed_memory()

    def __call__(self, pixels: Tensor) -> Any:
        """Run the model on normalised float32 pixels (B, C, H, W); outputs are float32 on the CPU."""
        with torch.inference_mode(), reduced_precision(self.device, self.precision):
            output = self.model(on_device(pixels, self.device))
            return tree_map_only(Tensor, _as_float32, output)


def _as_float32(tensor: Tensor) -> Tensor:
    return tensor.float().cpu() if tensor.is_floating_point() else tensor.cpu()
