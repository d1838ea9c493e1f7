"""Linear layers whose weights are stored as oneDNN multiplies them, for inference on a CPU.

PyTorch's own linear layer brings the weights into that layout in every call, and under autocast it also converts them
to the reduced precision every time. See LOG.md for what that costs.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ..machine.devices import has_fast_bfloat16, has_onednn_bfloat16
from ..nn import MLP, JointProjection


def can_prepack(device: torch.device, precision: torch.dtype) -> bool:
    """Whether prepacked layers are faster: with AVX-512 in float32, and with instructions for bfloat16 in that."""
    if device.type != "cpu" or not _has_operations():
        return False
    if precision == torch.bfloat16:
        return has_fast_bfloat16(device) and has_onednn_bfloat16()
    return precision == torch.float32 and torch.backends.cpu.get_cpu_capability() == "AVX512"


@cache
def _has_operations() -> bool:
    """Whether this PyTorch has the operations, which `torch.compile` uses and which are not documented."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)


class PrepackedLinear(nn.Linear):
    """A linear layer with prepacked weights, and with its activation: (*, D) -> (*, D2).

    `prepack_linears` makes an existing layer one.
    """

    prepacked: Tensor
    prepacked_bias: Tensor | None
    activation: str

    def forward(self, x: Tensor) -> Any:
        x = x.to(self.prepacked.dtype)
        return torch.ops.mkldnn._linear_pointwise(x, self.prepacked, self.prepacked_bias, self.activation, [], "none")


class PrepackedJointProjection(JointProjection, PrepackedLinear):  # type: ignore[misc]
    """`JointProjection`, whose layer for all tokens is prepacked."""


_PREPACKED: Mapping[type, type[PrepackedLinear]] = {
    nn.Linear: PrepackedLinear,
    JointProjection: PrepackedJointProjection,
}
"""Class of a layer -> its prepacked class."""


def prepack_linears(model: nn.Module, precision: torch.dtype) -> None:
    """Prepack the linear layers of a model on the CPU, in place; a GELU behind one becomes part of it.

    The model has a second copy of these weights, in `precision`; the first one stays as it was. Values that are changed
    afterwards have no effect. The model cannot be trained or copied any more.
    """
    for module in model.modules():
        if type(module) in _PREPACKED:
            _prepack(module, precision)
    for module in model.modules():
        if type(module) is MLP and isinstance(module.expand, PrepackedLinear) and _is_gelu(module.activation):
            module.expand.activation = "gelu"
            module.activation = nn.Identity()


def prepacked_bytes(model: nn.Module, precision: torch.dtype) -> int:
    """Bytes of the copies that `prepack_linears` makes; the model may be on the meta device."""
    layers = [module for module in model.modules() if type(module) in _PREPACKED]
    return precision.itemsize * sum(param.numel() for layer in layers for param in layer.parameters())


def _prepack(layer: Any, precision: torch.dtype) -> None:
    layer.__class__ = _PREPACKED[type(layer)]
    layer.prepacked = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().to(precision))
    layer.prepacked_bias = None if layer.bias is None else layer.bias.detach().to(precision)
    layer.activation = "none"


def _is_gelu(module: nn.Module) -> bool:
    return type(module) is nn.GELU and module.approximate == "none"
