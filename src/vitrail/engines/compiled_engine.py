"""The compiled engine: `torch.compile` with frozen weights."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ..errors import is_out_of_memory
from ..nn import as_float
from .agreement import require_agreement
from .precision import on_device, reduced_precision
from .torch_engine import TorchEngine, inference_copy


class CompiledEngine:
    """Runs a model that `torch.compile` has compiled: on the CPU with frozen, prepacked weights, on a GPU tuned and as
    a CUDA graph.

    The first batch is compiled, which takes up to some minutes, and compared with eager PyTorch in float32, see
    `TOLERANCES`. Without a C++ compiler, or if compiling fails, a warning says so and the model runs eagerly. Values of
    weights that are changed afterwards have no effect.

    Args:
        model, device, precision: see `TorchEngine`.
    """

    def __init__(self, model: nn.Module, device: str = "auto", precision: str = "auto") -> None:
        self.eager = TorchEngine(model, device, precision)
        self.device, self.precision = self.eager.device, self.eager.precision
        # Layers that are prepacked cannot be compiled. On a GPU the eager engine has none: its copy is enough.
        gpu = self.device.type == "cuda"
        running = self.eager.running if gpu else inference_copy(self.eager.model, self.device, self.precision)
        self.compiled: Callable[[Tensor], Any] | None = compile_frozen(running, self.device)
        self.checked = False

    def __call__(self, pixels: Tensor) -> Any:
        """Run the model on pixels (B, C, H, W), see `Engine`; outputs are float32 on the CPU.

        Raises:
            VitrailError: the first batch, and its outputs differ from those of eager PyTorch.
        """
        if self.compiled is None:
            return self.eager(pixels)
        if self.checked:
            return self._run(self.compiled, self.precision, pixels)
        try:
            found = self._run(self.compiled, self.precision, pixels)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            reason = str(error).strip().splitlines()[0]
            warnings.warn(f"torch.compile failed ({reason}): the model runs without it", stacklevel=2)
            self.compiled = None
            return self.eager(pixels)
        require_agreement("compiled", self.precision, found, self._run(self.eager.model, torch.float32, pixels))
        self.checked = True
        return found

    def _run(self, model: Callable[[Tensor], Any], precision: torch.dtype, pixels: Tensor) -> Any:
        # Not inference_mode, in which Inductor freezes no weights.
        with torch.no_grad(), reduced_precision(self.device, precision):
            return tree_map_only(Tensor, _as_float32, model(as_float(on_device(pixels, self.device))))


def compile_frozen(model: nn.Module, device: torch.device) -> Callable[[Tensor], Any]:
    """Compile a model for inference; nothing happens before its first call."""
    if device.type == "cuda":
        compiled: Callable[[Tensor], Any] = torch.compile(model, mode="max-autotune")
    else:
        compiled = torch.compile(model, options={"freezing": True})
    return compiled


def _as_float32(tensor: Tensor) -> Tensor:
    return tensor.float().cpu() if tensor.is_floating_point() else tensor.cpu()
