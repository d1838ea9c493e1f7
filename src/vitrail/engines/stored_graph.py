"""Graphs of a checkpoint on disk, for OpenVINO or ONNX Runtime: prediction and embedding in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_unflatten, treespec_loads

from ..machine.allocator import keep_freed_memory
from ..machine.devices import PRECISIONS
from .choice import Setting
from .onnxruntime_graph import OnnxRuntimeGraph
from .openvino_graph import OpenVINOGraph
from .stored_files import compiled_files

OUTPUTS = ("prediction", "embedding")


@dataclass(frozen=True, slots=True)
class ModelGraph:
    """The graph of a model: pixels -> the tensors of its prediction, and last the embedding.

    Attributes:
        content: an `openvino.Model`, the bytes of an ONNX model, or the path of a file of either.
        structure: the pytree of the prediction, as `treespec_dumps` writes it.
    """

    content: Any
    structure: str

    def prediction(self, outputs: Sequence[Tensor]) -> Any:
        """The prediction of the graph's outputs: a tensor, or several in the type that the model gives."""
        return tree_unflatten(list(outputs[:-1]), _treespec(self.structure))


@cache
def _treespec(structure: str) -> TreeSpec:
    """The pytree that `treespec_dumps` wrote: reading it takes as long as a third of a small model."""
    return treespec_loads(structure)


class StoredGraph:
    """An engine that runs one output of a stored graph on the CPU.

    Args:
        setting: engine, number format and streams.
        graph: the graph, see `compress.graph`.
        output: one of `OUTPUTS`.
    """

    def __init__(self, setting: Setting, graph: ModelGraph, output: str = OUTPUTS[0]) -> None:
        keep_freed_memory()
        self.device = torch.device("cpu")
        self.precision = PRECISIONS[setting.precision]
        self.setting = setting
        self.graph = graph
        self.embeds = OUTPUTS.index(output) == 1
        self.runs = {torch.uint8: self._opened(torch.uint8)}

    def __call__(self, pixels: Tensor) -> Any:
        """Run the graph on values from 0 to 255 (B, C, H, W), uint8 or float32."""
        given = pixels.detach().cpu()
        # Not converted here: the threads of PyTorch that do so go on spinning, and take the cores from the graph's.
        if given.dtype not in self.runs:
            takes_any = self.setting.engine != "openvino"
            self.runs[given.dtype] = self.runs[torch.uint8] if takes_any else self._opened(given.dtype)
        outputs = self.runs[given.dtype](given)
        return outputs[-1] if self.embeds else self.graph.prediction(outputs)

    def _opened(self, dtype: torch.dtype) -> OpenVINOGraph | OnnxRuntimeGraph:
        content = self.graph.content
        if self.setting.engine != "openvino":
            return OnnxRuntimeGraph(content)
        stored = isinstance(content, Path)
        return OpenVINOGraph(
            content if stored else content.clone(),
            self.precision,
            streams=self.setting.streams,
            dtype=dtype,
            compiled=compiled_files(content.parent) if stored and dtype == torch.uint8 else None,
        )
