"""Engines: what runs a model. One file an engine, one table."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import VitrailError, nearest
from ..plugins import find_plugin, plugin_names


class Engine(Protocol):
    """Pixels -> output. Owns device, precision, layout, inference mode and memory policy.

    Attributes:
        device: where it computes.
        precision: of the matrix products.
    """

    device: torch.device
    precision: torch.dtype

    def __call__(self, pixels: Tensor) -> Any:
        """(B, C, H, W) normalised float32, of any device -> the model's output, every tensor float32 on the CPU."""


MakeEngine = Callable[[nn.Module, str, str], Engine]
"""(model, device, precision) -> Engine; device and precision are words as a user writes them."""

ENGINES = {"torch": "torch_engine:TorchEngine"}
"""Name -> file and class. Another package adds its own through the entry point group `vitrail.engines`."""


def engine_names() -> list[str]:
    """Every engine, those of other packages included; nothing is imported."""
    return [*ENGINES, *plugin_names("engine")]


def make_engine(model: nn.Module, *, engine: str = "torch", device: str = "auto", precision: str = "auto") -> Engine:
    """An engine for a model.

    Args:
        model: pixels -> output; put in evaluation mode, and moved to the device if the engine computes with it.
        engine: a name of `engine_names`.
        device: "auto", "cpu", "cuda", "cuda:1".
        precision: "auto", "float32", "bfloat16" or "float16"; see `Precision`.

    Raises:
        VitrailError: an unknown word, or a device that this machine does not have.
    """
    if engine in ENGINES:
        module, _, kind = ENGINES[engine].partition(":")
        make: MakeEngine = vars(import_module(f".{module}", __package__))[kind]
        return make(model, device, precision)
    plugin: MakeEngine | None = find_plugin("engine", engine)
    if plugin is None:
        raise VitrailError(f"there is no engine {engine!r}: {nearest(engine, engine_names())}")
    return plugin(model, device, precision)
