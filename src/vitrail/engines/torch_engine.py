"""The PyTorch engine: eager mode with autocast."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ..errors import VitrailError
from ..machine.allocator import keep_freed_memory
from ..nn import as_float
from ..rewrites.inference import for_inference
from .agreement import require_agreement
from .cast_weights import cast_weights, casts_weights
from .float8 import float8_linears
from .precision import (
    FLOAT8,
    autocast_format,
    on_device,
    pick_device,
    pick_engine_precision,
    place_model,
    reduced_precision,
)
from .prepacked import can_prepack, prepack_linears


class TorchEngine:
    """Runs a model eagerly, without gradients.

    What runs is `for_inference(model)`, which shares its tensors; it is made again if their values have changed. Where
    it is faster, see `can_prepack`, weights of linear layers are also kept in the layout of the matrix products. With
    float8 they are also kept in that format, and the first batch is compared with float32, see `TOLERANCES`.

    Args:
        model: set to evaluation mode and moved to the device; its modules are not changed.
        device: see `pick_device`.
        precision: see `pick_engine_precision`.

    Attributes:
        running: what runs.

    Raises:
        VitrailError: a device or precision that there is not, or float8 for a model without layers that can have it.
    """

    def __init__(self, model: nn.Module, device: str = "auto", precision: str = "auto") -> None:
        self.device = pick_device(device)
        self.precision = pick_engine_precision(precision, self.device)
        self.model = place_model(model.eval(), self.device)
        self._checked = self.precision != FLOAT8
        self._tensors = [tensor for tensor in (*model.parameters(), *model.buffers()) if not tensor.is_inference()]
        self._prepare()
        keep_freed_memory()

    def __call__(self, pixels: Tensor) -> Any:
        """Run the model on pixels (B, C, H, W), see `Engine`; outputs are float32 on the CPU.

        Raises:
            VitrailError: the first batch with float8, and its outputs differ from those in float32.
        """
        if _state(self._tensors) != self._prepared:
            self._prepare()
        found = self._run(self.running, self.precision, pixels)
        if not self._checked:
            require_agreement("torch", self.precision, found, self._run(self.model, torch.float32, pixels))
            self._checked = True
        return found

    def _run(self, model: nn.Module, precision: torch.dtype, pixels: Tensor) -> Any:
        with torch.inference_mode(), reduced_precision(self.device, precision):
            return tree_map_only(Tensor, _as_float32, model(as_float(on_device(pixels, self.device))))

    def _prepare(self) -> None:
        self.running = inference_copy(self.model, self.device, self.precision)
        # Other modules than ours are not copied, and what is prepacked cannot be trained any more.
        if self.running is not self.model and can_prepack(self.device, self.precision):
            prepack_linears(self.running, self.precision)
        self._prepared = _state(self._tensors)


def inference_copy(model: nn.Module, device: torch.device, precision: torch.dtype) -> nn.Module:
    """`for_inference(model)` on a device: with 8-bit products in its linear layers if the precision is float8, and with
    converted weights where that is faster, see `casts_weights`.

    Raises:
        VitrailError: float8, and the model is not one of vitrail, or has no layer that can have it.
    """
    running = place_model(for_inference(model), device)
    if precision == FLOAT8:
        if running is model:
            raise VitrailError("float8 is for models of vitrail, and this is another module: use --precision bfloat16")
        float8_linears(running)
    if running is not model and casts_weights(device, autocast_format(precision)):
        cast_weights(running, autocast_format(precision))
    return running


def _state(tensors: Sequence[Tensor]) -> list[int]:
    """For each tensor a number that grows when it is changed in place, and where its values are; in microseconds."""
    return [*(tensor._version for tensor in tensors), *(tensor.data_ptr() for tensor in tensors)]


def _as_float32(tensor: Tensor) -> Tensor:
    return tensor.float().cpu() if tensor.is_floating_point() else tensor.cpu()
