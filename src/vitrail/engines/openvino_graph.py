"""OpenVINO: conversion, compilation and running of models. The only file that imports openvino."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import VitrailError
from ..machine.facts import usable_cores
from .onnx_graph import to_onnx
from .program import Program, quiet

_NAMESPACE = "vitrail"
_SIZES = 3
"""Most batch sizes that a model is compiled for; further ones have a graph of open size."""
_OPEN = 0
"""Key of the graph of open size."""
_HINTS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}


def import_openvino() -> Any:
    """The module openvino.

    Raises:
        VitrailError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise VitrailError('OpenVINO is not installed: pip install "vitrail[openvino]"') from error
    return openvino


@cache
def core() -> Any:
    """The `openvino.Core` of this process, which is never freed: see `same_signal_stack`."""
    return import_openvino().Core()


def to_openvino(program: Program, *, input_name: str = "images", output_names: Sequence[str] = ()) -> Any:
    """An `openvino.Model` of a program; through ONNX if OpenVINO lacks one of PyTorch's operations.

    Raises:
        VitrailError: OpenVINO lacks a layer of the model, or is not installed.
    """
    openvino = import_openvino()
    try:
        model = _converted(program)
    except Exception as error:
        try:
            model = core().read_model(to_onnx(program).SerializeToString())
        except Exception:
            reason = str(error).strip().splitlines()[-1]
            advice = 'pip install "vitrail[onnx]" to try another way, or use another format or engine'
            raise VitrailError(f"OpenVINO cannot convert this model ({reason}): {advice}") from error
    model.reshape({model.inputs[0]: openvino.PartialShape(list(program.shape))})
    model.inputs[0].set_names({input_name})
    for output, name in zip(model.outputs, output_names, strict=False):
        output.set_names({name})
    return model


def _converted(program: Program) -> Any:
    """What `openvino.convert_model` does, which also reports each call to its maker over the network."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    with quiet(), torch.no_grad():
        frontend = FrontEndManager().load_by_framework("pytorch")
        # The frontend does not hold the decoder, which is read until the end of the conversion.
        decoder = TorchFXPythonDecoder.from_exported_program(program.graph)
        return frontend.convert(frontend.load(decoder))


def fold_constants(model: Any) -> None:
    """Compute what does not depend on the input once, in place: a part of a weight is a weight then."""
    from openvino import passes

    manager = passes.Manager()
    manager.register_pass(passes.ConstantFolding())
    manager.run_passes(model)


def write_openvino(model: Any, path: Path, facts: Mapping[str, str], *, half: bool) -> None:
    """Write a model as `path` (.xml) and the file of its weights beside it (.bin).

    Args:
        model: what `to_openvino` returned.
        path: file to write.
        facts: name -> value, for the model's rt_info under "vitrail".
        half: whether weights are stored in float16; they are multiplied in the format that the runtime chooses.
    """
    for name, value in facts.items():
        model.set_rt_info(value, [_NAMESPACE, name])
    import_openvino().save_model(model, str(path), compress_to_fp16=half)


def read_openvino(path: Path) -> Any:
    """A model that `write_openvino` wrote, as an `openvino.Model`."""
    return core().read_model(str(path))


class OpenVINOGraph:
    """A model that takes batches of any size, from one thread at a time.

    It is compiled for the sizes that come, as OpenVINO fuses element-wise operations only if all shapes are known. Each
    size has weights of its own, in the layout of the products: from the fourth on, sizes share a slower graph. A batch
    of more than half of a size is filled up to it. Buffers are used again and again.

    Args:
        model: what `to_openvino` or `read_openvino` returned.
        precision: number format of the matrix products.
        streams: number of parts of a batch that run at the same time, each on its share of the cores.
        device: a device of OpenVINO, such as "CPU".
        dtype: of the input, if it is not that of the model.
    """

    def __init__(
        self,
        model: Any,
        precision: torch.dtype = torch.float32,
        *,
        streams: int = 1,
        device: str = "CPU",
        dtype: torch.dtype | None = None,
    ) -> None:
        openvino = import_openvino()
        if dtype == torch.uint8:
            steps = openvino.preprocess.PrePostProcessor(model)
            steps.input().tensor().set_element_type(openvino.Type.u8)
            model = steps.build()
        self.model = model
        self.streams = streams
        self.device = device
        self.settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "NUM_STREAMS": str(streams),
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        }
        if device == "CPU":
            self.settings["INFERENCE_NUM_THREADS"] = str(max(streams, usable_cores()))
        self.tensor: Any = openvino.Tensor
        self.requests: dict[int, list[Any]] = {}

    def __call__(self, batch: Tensor) -> list[Tensor]:
        count = max(-(-len(batch) // self.streams), 1)
        parts = [part for part in batch.contiguous().split(count) if len(part)] or [batch]
        size = self._size(count)
        running = self.requests[size][: len(parts)]
        arrays = [_filled(part, size).numpy() for part in parts]  # held here, as OpenVINO reads their memory
        try:
            for request, array in zip(running, arrays, strict=True):
                request.set_input_tensor(self.tensor(array, shared_memory=True))
                request.start_async()
        finally:
            for request in running:
                request.wait()
        found = [(request, len(part)) for request, part in zip(running, parts, strict=True)]
        # Copies, as the next call writes into the same buffers.
        return [
            torch.from_numpy(np.concatenate([request.get_output_tensor(index).data[:rows] for request, rows in found]))
            for index in range(len(self.model.outputs))
        ]

    def forget(self) -> None:
        """Free what was compiled."""
        self.requests.clear()

    def _size(self, count: int) -> int:
        """The batch size of the compiled graph that a part of this many images runs with, or `_OPEN`."""
        if found := [size for size in self.requests if count <= size < 2 * count]:
            return min(found)
        size = count if len(self.requests) < _SIZES else _OPEN
        if size not in self.requests:
            self.requests[size] = self._compiled(size)
        return size

    def _compiled(self, size: int) -> list[Any]:
        """A request for each stream."""
        model = self.model
        if size != _OPEN:
            model, shape = model.clone(), model.inputs[0].get_partial_shape()
            shape[0] = size
            model.reshape({model.inputs[0]: shape})
        compiled = core().compile_model(model, self.device, self.settings)
        return [compiled.create_infer_request() for _ in range(self.streams)]


def _filled(part: Tensor, size: int) -> Tensor:
    """The part with zeros behind it, if it is smaller than a size."""
    return part if len(part) >= size else torch.cat([part, part.new_zeros(size - len(part), *part.shape[1:])])
