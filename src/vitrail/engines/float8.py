"""Linear layers whose products have 8-bit floating point operands, for inference on a GPU.

Weights have a scale for each output channel, inputs one for each token, computed in every call. Sums are float32 (with
fewer digits for parts of them, on Hopper), and results bfloat16. The format is E4M3 (Micikevicius et al., 2022, "FP8
formats for deep learning"), with values of up to 448 and 4 significant bits.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import VitrailError
from ..machine.devices import FLOAT8
from ..nn import JointProjection

_MULTIPLE = 16
"""What the widths of a product have to be multiples of."""


def to_float8(x: Tensor) -> tuple[Tensor, Tensor]:
    """Round rows to 8-bit floating point numbers, the largest of each row to 448: (*, D) -> (*, D), (*, 1).

    Returns:
        The numbers, and the float32 factor of each row that they are multiplied by to give its values. Infinite values
        become the largest finite one, so that they turn no other value of their row into NaN; a row with a NaN is NaN.
    """
    wide, limits, largest = x.float(), torch.finfo(torch.float32), torch.finfo(FLOAT8).max
    # Not below the smallest normal number, as some kernels take smaller ones for zero, and a row of zeros for NaN.
    scale = (wide.abs().amax(-1, keepdim=True).clamp(max=limits.max) / largest).clamp(min=limits.tiny)
    # What is rounded to more than the largest number is NaN in some versions of PyTorch.
    return (wide / scale).clamp(-largest, largest).to(FLOAT8), scale


def product(rows: Tensor, row_scale: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None) -> Tensor:
    """Product of 8-bit matrices, in bfloat16: (M, D) × (D2, D) -> (M, D2).

    Args:
        rows, row_scale: (M, D) and (M, 1), see `to_float8`.
        weight, weight_scale: (D2, D) and (D2, 1).
        bias: (D2,), in bfloat16.
    """
    return torch._scaled_mm(
        rows,
        weight.t(),
        scale_a=row_scale,
        scale_b=weight_scale.t(),
        bias=bias,
        out_dtype=torch.bfloat16,
        use_fast_accum=True,
    )


class Float8Linear(nn.Linear):
    """A linear layer with 8-bit products: (*, D) -> (*, D2), in bfloat16.

    `float8_linears` makes an existing layer one.
    """

    weight8: Tensor
    weight8_scale: Tensor
    bias16: Tensor | None

    def forward(self, x: Tensor) -> Any:
        rows, scale = to_float8(x.reshape(-1, self.in_features).contiguous())
        found = product(rows, scale, self.weight8, self.weight8_scale, self.bias16)
        return found.view(*x.shape[:-1], self.out_features)


class Float8JointProjection(JointProjection, Float8Linear):  # type: ignore[misc]
    """`JointProjection`, whose layer for all tokens has 8-bit products; those for some queries stay in bfloat16."""


_FLOAT8: Mapping[type, type[Float8Linear]] = {nn.Linear: Float8Linear, JointProjection: Float8JointProjection}
"""Class of a layer -> its class with 8-bit products."""


def float8_linears(model: nn.Module) -> None:
    """Give the linear layers of a model 8-bit products, in place; the model is then for inference under autocast.

    Those with a width that is no multiple of 16 stay as they are, and so do those of the head, which cost
    little and whose errors nothing averages out. The model has a second copy of the weights, of a byte for each; the
    first one stays as it was. Values that are changed afterwards have no effect.

    Raises:
        VitrailError: no layer can have them.
    """
    heads = [head for name, head in model.named_modules() if name.rpartition(".")[2] == "head"]
    last = {id(layer) for head in heads for layer in head.modules()}
    layers = [layer for layer in model.modules() if type(layer) in _FLOAT8 and id(layer) not in last and _fits(layer)]
    if not layers:
        raise VitrailError(
            "float8 is for linear layers inside a model whose widths are multiples of 16, and this model has none: use "
            "--precision bfloat16"
        )
    for layer in layers:
        _convert(layer)


def _fits(layer: Any) -> bool:
    return layer.in_features % _MULTIPLE == 0 and layer.out_features % _MULTIPLE == 0


def _convert(layer: Any) -> None:
    layer.__class__ = _FLOAT8[type(layer)]
    weight, scale = to_float8(layer.weight.detach())
    # Buffers, which stay where they are: CUDA graphs copy other tensors in every call.
    layer.register_buffer("weight8", weight, persistent=False)
    layer.register_buffer("weight8_scale", scale, persistent=False)
    bias = None if layer.bias is None else layer.bias.detach().bfloat16()
    layer.register_buffer("bias16", bias, persistent=False)
