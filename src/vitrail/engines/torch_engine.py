"""The PyTorch engine: eager mode with autocast."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ..machine.allocator import keep_freed_memory
from ..nn import as_float
from ..rewrites.inference import for_inference
from .precision import on_device, pick_device, pick_precision, place_model, reduced_precision
from .prepacked import can_prepack, prepack_linears


class TorchEngine:
    """Runs a model eagerly, without gradients.

    What runs is `for_inference(model)`, which shares its tensors; it is made again if their values have changed. Where
    it is faster, see `can_prepack`, weights of linear layers are also kept in the layout of the matrix products.

    Args:
        model: set to evaluation mode and moved to the device; its modules are not changed.
        device: see `pick_device`.
        precision: see `pick_precision`.
    """

    def __init__(self, model: nn.Module, device: str = "auto", precision: str = "auto") -> None:
        self.device = pick_device(device)
        self.precision = pick_precision(precision, self.device)
        self.model = place_model(model.eval(), self.device)
        self._tensors = [tensor for tensor in (*model.parameters(), *model.buffers()) if not tensor.is_inference()]
        self._prepare()
        keep_freed_memory()

    def __call__(self, pixels: Tensor) -> Any:
        """Run the model on pixels (B, C, H, W), see `Engine`; outputs are float32 on the CPU."""
        if _state(self._tensors) != self._prepared:
            self._prepare()
        with torch.inference_mode(), reduced_precision(self.device, self.precision):
            output = self._running(as_float(on_device(pixels, self.device)))
            return tree_map_only(Tensor, _as_float32, output)

    def _prepare(self) -> None:
        self._running = place_model(for_inference(self.model), self.device)
        # Other modules than ours are not copied, and what is prepacked cannot be trained any more.
        if self._running is not self.model and can_prepack(self.device, self.precision):
            prepack_linears(self._running, self.precision)
        self._prepared = _state(self._tensors)


def _state(tensors: Sequence[Tensor]) -> list[int]:
    """For each tensor a number that grows when it is changed in place, and where its values are; in microseconds."""
    return [*(tensor._version for tensor in tensors), *(tensor.data_ptr() for tensor in tensors)]


def _as_float32(tensor: Tensor) -> Tensor:
    return tensor.float().cpu() if tensor.is_floating_point() else tensor.cpu()
