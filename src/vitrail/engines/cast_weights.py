"""Weights in the number format of the products, for inference on a GPU.

Autocast converts weights in every call, also in compiled models: for few images that takes as long as to read them once
or twice more. The conversion is the same here, and so are the outputs.
"""

import torch
from torch import nn

from ..nn import JointProjection, JointProjectionWithoutKeyBias

_LAYERS = (nn.Linear, nn.Conv2d, nn.Conv3d, JointProjection, JointProjectionWithoutKeyBias)
"""Classes whose weights and biases autocast converts, all of them."""


def casts_weights(device: torch.device, precision: torch.dtype) -> bool:
    """Whether converted weights save time: on a GPU. On CPUs see `prepacked`, and compiled models have frozen ones."""
    return device.type == "cuda" and precision in (torch.bfloat16, torch.float16)


def cast_weights(model: nn.Module, precision: torch.dtype) -> None:
    """Give linear layers and convolutions of a model weights in `precision`, in place; it then runs under autocast.

    Its layers no longer share these weights with the model that it is a copy of, and those stay as they were. Values
    that are changed afterwards have no effect. Layers of other classes keep theirs.
    """
    for layer in model.modules():
        if type(layer) in _LAYERS:
            for name, tensor in list(layer.named_parameters(recurse=False)):
                setattr(layer, name, nn.Parameter(tensor.detach().to(precision), requires_grad=False))
