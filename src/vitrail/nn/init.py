"""Published initialisations of weights."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


@contextmanager
def without_weights() -> Iterator[None]:
    """Context manager in which modules are built on the meta device: shapes without memory or values."""
    with torch.device("meta"), _WithoutValues():
        yield


class _WithoutValues(TorchFunctionMode):
    """Leave out random initialisation: PyTorch imports its compiler for it on the meta device, which takes seconds."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func in _CHANGE_VALUES:
            filled: Tensor = args[0] if args else given["tensor"]
            return filled
        return func(*args, **given)


_CHANGE_VALUES = {
    nn.init.normal_,
    nn.init.uniform_,
    nn.init.kaiming_normal_,
    nn.init.kaiming_uniform_,
    nn.init.orthogonal_,
    nn.init.xavier_uniform_,
    nn.init.trunc_normal_,
    Tensor.normal_,
    Tensor.uniform_,
    # Of truncated normals, which older versions of PyTorch do not let modes see as a whole.
    Tensor.erfinv_,
    Tensor.mul_,
    Tensor.add_,
    Tensor.clamp_,
}


def init_vit(module: nn.Module) -> None:
    """For `apply`: truncated normal with deviation 0.02 for linear weights, zero biases, as in DeiT and timm."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def init_xavier(module: nn.Module) -> None:
    """For `apply`: Xavier's uniform linear weights (Glorot and Bengio, 2010), zero biases, as in DETR."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def init_convolutions(module: nn.Module) -> None:
    """For `apply`: normal with variance 2 / fan-out for filters, zero biases, as in PVT v2 and SegFormer."""
    if isinstance(module, nn.Conv2d):
        area = module.kernel_size[0] * module.kernel_size[1]
        nn.init.normal_(module.weight, std=math.sqrt(2 * module.groups / (area * module.out_channels)))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def init_mae(module: nn.Module) -> None:
    """For `apply`: Xavier's uniform weights, with the patch filters as a linear layer (He et al., 2022, "MAE")."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight.flatten(1))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def init_convnext(module: nn.Module) -> None:
    """For `apply`: truncated normal with deviation 0.02 for linear layers and convolutions, zero biases."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        init_zero_bias(module)


def init_lecun(module: nn.Module) -> None:
    """For `apply`: truncated normal with variance 1 / fan-in, and zero biases, as in Flax."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        # A normal distribution truncated at two deviations has 0.8796 of its deviation.
        std = (module.weight[0].numel() ** -0.5) / 0.8796256610342398
        nn.init.trunc_normal_(module.weight, std=std, a=-2 * std, b=2 * std)
        init_zero_bias(module)


def init_zero(module: nn.Module) -> None:
    """For `apply`: zero linear layers, for classifiers whose initial logits are 0."""
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.weight)
        init_zero_bias(module)


def init_zero_bias(module: nn.Linear | nn.Conv2d) -> None:
    """Set the bias to 0, if the layer has one."""
    if module.bias is not None:
        nn.init.zeros_(module.bias)


@torch.no_grad()
def zero_branches(blocks: Iterable[nn.Module], ends: tuple[str, ...]) -> None:
    """Zero the last linear layers of the branches, so that every block starts as the identity.

    Args:
        blocks: the blocks.
        ends: names of the last linear layers of the branches inside a block.
    """
    for block in blocks:
        for name in ends:
            init_zero(block.get_submodule(name))


@torch.no_grad()
def shrink_by_depth(blocks: Iterable[nn.Module], ends: tuple[str, ...]) -> None:
    """Divide the last weights of the branches of block n by √(2 n), n from 1 (Bao et al., 2022, "BEiT", section 3.1).

    Args:
        blocks: the blocks, in order.
        ends: names of the last linear layers of the branches inside a block.
    """
    for number, block in enumerate(blocks, start=1):
        for name in ends:
            block.get_parameter(f"{name}.weight").div_(math.sqrt(2 * number))
