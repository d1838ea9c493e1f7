"""The protocol of an engine, which runs a model, and the registry of engines."""

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import VitrailError, nearest
from ..plugins import find_plugin, plugin_names


class Engine(Protocol):
    """Pixels -> output. Owns device, precision, layout, inference mode and memory policy.

    Attributes:
        device: device of the computation.
        precision: number format of the matrix products.
    """

    device: torch.device
    precision: torch.dtype

    def __call__(self, pixels: Tensor) -> Any:
        """Run the model on pixels (B, C, H, W) on any device; outputs are float32 on the CPU.

        Args:
            pixels: normalised, float32; or the uint8 values of images for a model that takes them, see
                `Preprocess.keeps_values`.
        """


MakeEngine = Callable[[nn.Module, str, str], Engine]
"""(model, device, precision) -> Engine; device and precision are names, see `make_engine`."""

ENGINES = {
    "torch": "torch_engine:TorchEngine",
    "compiled": "compiled_engine:CompiledEngine",
    "openvino": "openvino_engine:OpenVINOEngine",
    "onnxruntime": "onnxruntime_engine:OnnxRuntimeEngine",
}
"""Name -> file and class. Other packages add theirs through the entry points `vitrail.engines`."""


PACKAGES: Mapping[str, tuple[str, ...]] = {
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnx", "onnxscript"),
}
"""Engine that converts models -> packages that it needs besides PyTorch, the one that runs them first."""


def missing_packages(engine: str) -> list[str]:
    """Packages that an engine needs and that are not installed."""
    return [package for package in PACKAGES.get(engine, ()) if find_spec(package) is None]


def engine_names() -> list[str]:
    """Names of all engines, those of other packages included; nothing is imported."""
    return [*ENGINES, *plugin_names("engine")]


def make_engine(model: nn.Module, *, engine: str = "torch", device: str = "auto", precision: str = "auto") -> Engine:
    """Build an engine for a model.

    Args:
        model: pixels -> output; set to evaluation mode, and moved to the device if the engine uses PyTorch.
        engine: a name of `engine_names`.
        device: "auto", "cpu", "cuda", "cuda:1".
        precision: "auto", "float32", "bfloat16", "float16" or "float8"; see `EnginePrecision`.

    Raises:
        VitrailError: unknown name, a device that this machine does not have, or a precision that the engine does not
            have on it.
    """
    if engine in ENGINES:
        module, _, kind = ENGINES[engine].partition(":")
        make: MakeEngine = vars(import_module(f".{module}", __package__))[kind]
        return make(model, device, precision)
    plugin: MakeEngine | None = find_plugin("engine", engine)
    if plugin is None:
        raise VitrailError(f"there is no engine {engine!r}: {nearest(engine, engine_names())}")
    return plugin(model, device, precision)
