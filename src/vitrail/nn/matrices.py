"""The weight matrices of a model: which weights multiply, and which of them lie between hidden layers."""

from torch import nn

from .convolution import ScaleFreeConv

_MULTIPLYING = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def weight_matrices(model: nn.Module) -> list[str]:
    """Names of the weights of linear layers and convolutions; norms, biases, positions and tokens are others."""
    return [
        f"{name}.weight" if name else "weight"
        for name, module in model.named_modules()
        if isinstance(module, _MULTIPLYING)
    ]


def hidden_matrices(model: nn.Module) -> set[str]:
    """Names of the weights between two hidden layers: not of the first layer, which takes pixels, and not the head's.

    A head with layers between hidden ones names these parts as `hidden_parts`. Muon updates these weights (Jordan et
    al., 2024); the model may be on the meta device.
    """
    parts = getattr(getattr(model, "head", None), "hidden_parts", ())
    inner = tuple(f"head.{part}." for part in parts)
    return {name for name in weight_matrices(model)[1:] if not name.startswith("head") or name.startswith(inner)}


def scale_free_matrices(model: nn.Module) -> set[str]:
    """Names of the weights whose scale has no effect, as a batch norm follows."""
    return {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, ScaleFreeConv)}
