"""Contenders of the benchmark of models: a library, an engine and a number format, and how each is built."""

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ..engines.agreement import TOLERANCES, difference
from ..engines.compiled_engine import CompiledEngine, compile_frozen
from ..engines.engine import PACKAGES, make_engine
from ..engines.precision import PRECISIONS, pick_device
from ..engines.program import Program, to_program
from ..errors import VitrailError
from ..machine.devices import pick_precision
from ..nn import joined

Run = Callable[[Tensor], Any]
"""Pixels (B, C, H, W) on the CPU -> float32 outputs on the CPU."""

OURS = "vitrail"
_FORMATS = {"openvino": ("float32", "bfloat16"), "onnxruntime": ("float32",)}
"""Engine -> number formats that it has, if not all."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A library, the engine that runs its model, and the number format of the matrix products."""

    library: str
    engine: str
    precision: str

    def __str__(self) -> str:
        return f"{self.library} {self.engine} {self.precision}"


def runs_with(engine: str, precision: str, device: torch.device) -> bool:
    """Whether an engine has a number format on a device; those of other packages are tried."""
    return (device.type == "cpu" or engine not in PACKAGES) and precision in _FORMATS.get(engine, (precision,))


def formats(names: tuple[str, ...], device: torch.device) -> tuple[str, ...]:
    """Names of number formats, "auto" as the format that it means on a device, each once.

    Raises:
        VitrailError: unknown name.
    """
    return tuple(dict.fromkeys(str(pick_precision(name, device)).removeprefix("torch.") for name in names))


def build_ours(model: nn.Module, contender: Contender, device: str) -> Run:
    """An engine of vitrail for a model.

    Raises:
        VitrailError: the engine cannot run the model, or its outputs differ from those of PyTorch.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_engine(model, engine=contender.engine, device=device, precision=contender.precision)


class PeerModel:
    """A module of another library, and the graph that other runtimes convert, which is made when it is first needed.

    Args:
        module: in float32, on the CPU, in evaluation mode; it is not changed.
        example: pixels, of the size that graphs are made for.
    """

    def __init__(self, module: nn.Module, example: Tensor) -> None:
        self.module = module
        self.example = example

    @cached_property
    def program(self) -> Program:
        """The graph, for batches of any size; its example has two images, as torch.export takes one for a constant."""
        return to_program(self.module, torch.cat([self.example[:1]] * 2))


def build_theirs(peer: PeerModel, contender: Contender, device: str) -> Run:
    """The model of another library, run in the same way as ours: eagerly or compiled with its weights in the number
    format, or with the same conversion and settings of OpenVINO and ONNX Runtime.

    Args:
        peer: the model.
        contender: how it is run.
        device: see `make_engine`.

    Raises:
        VitrailError: the engine cannot run the model.
    """
    if contender.engine not in _RUNS:
        raise VitrailError(f"models of other libraries are not run with engine {contender.engine}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _RUNS[contender.engine](peer, PRECISIONS[contender.precision], pick_device(device))


def _eager(peer: PeerModel, dtype: torch.dtype, device: torch.device) -> Run:
    placed = copy.deepcopy(peer.module).to(device, dtype)
    return torch.inference_mode()(lambda pixels: placed(pixels.to(device, dtype)).float().cpu())


def _compiled(peer: PeerModel, dtype: torch.dtype, device: torch.device) -> Run:
    compiled = compile_frozen(copy.deepcopy(peer.module).to(device, dtype), device)
    return torch.no_grad()(lambda pixels: compiled(pixels.to(device, dtype)).float().cpu())


def _openvino(peer: PeerModel, dtype: torch.dtype, device: torch.device) -> Run:
    from ..engines.openvino_convert import to_openvino
    from ..engines.openvino_graph import OpenVINOGraph

    graph = OpenVINOGraph(to_openvino(peer.program), dtype)
    return lambda pixels: graph(pixels)[0].float()


def _onnxruntime(peer: PeerModel, dtype: torch.dtype, device: torch.device) -> Run:
    from ..engines.onnx_graph import to_onnx
    from ..engines.onnxruntime_graph import OnnxRuntimeGraph

    graph = OnnxRuntimeGraph(to_onnx(peer.program).SerializeToString())
    return lambda pixels: graph(pixels)[0].float()


_RUNS: Mapping[str, Callable[[PeerModel, torch.dtype, torch.device], Run]] = {
    "torch": _eager,
    "compiled": _compiled,
    "openvino": _openvino,
    "onnxruntime": _onnxruntime,
}
"""Engine -> function that runs a module of another library."""


def checked(run: Run, contender: Contender, pixels: Tensor, expected: Any) -> float:
    """Run a contender for the first time, and return the relative difference of its outputs.

    Args:
        run: what was built.
        contender: its number format gives the tolerance, see `TOLERANCES`.
        pixels: (B, C, H, W).
        expected: outputs of our model in eager PyTorch with float32.

    Raises:
        VitrailError: the outputs differ by more than the tolerance, or the model could not be compiled.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        apart = difference(joined(run(pixels)), expected)
    if isinstance(run, CompiledEngine) and run.compiled is None:
        raise VitrailError("torch.compile failed: it needs a C++ compiler")
    most = TOLERANCES[PRECISIONS[contender.precision]]
    if not apart <= most:
        raise VitrailError(f"its outputs differ by {apart:.1e}, more than {most:g}")
    return apart
