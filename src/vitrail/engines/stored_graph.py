"""Graphs of a checkpoint on disk, for OpenVINO or ONNX Runtime: prediction and embedding in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_unflatten, treespec_loads

from ..machine.allocator import keep_freed_memory
from ..machine.facts import PRECISIONS
from .choice import Setting
from .onnxruntime_graph import OnnxRuntimeGraph
from .openvino_graph import OpenVINOGraph, read_openvino

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
        return tree_unflatten(list(outputs[:-1]), treespec_loads(self.structure))


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
        self.graph = graph
        self.embeds = OUTPUTS.index(output) == 1
        self.run: OpenVINOGraph | OnnxRuntimeGraph
        content = graph.content
        if setting.engine == "openvino":
            model = read_openvino(content) if isinstance(content, Path) else content.clone()
            self.run = OpenVINOGraph(model, self.precision, streams=setting.streams)
        else:
            self.run = OnnxRuntimeGraph(content)

    def __call__(self, pixels: Tensor) -> Any:
        """Run the graph on values from 0 to 255 (B, C, H, W), uint8 or float32."""
        outputs = self.run(pixels.detach().cpu().float())
        return outputs[-1] if self.embeds else self.graph.prediction(outputs)
