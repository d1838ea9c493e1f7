"""Graphs of a checkpoint on disk, for OpenVINO or ONNX Runtime: prediction and embedding in one pass."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..machine.allocator import keep_freed_memory
from ..machine.facts import PRECISIONS
from .choice import Setting
from .onnxruntime_graph import OnnxRuntimeGraph
from .openvino_graph import OpenVINOGraph, read_openvino

OUTPUTS = ("prediction", "embedding")


class StoredGraph:
    """An engine that runs one output of a stored graph on the CPU.

    Args:
        setting: engine, number format and streams.
        graph: path of the file, or the graph itself, see `compress.graph`.
        output: one of `OUTPUTS`.
    """

    def __init__(self, setting: Setting, graph: Any, output: str = OUTPUTS[0]) -> None:
        keep_freed_memory()
        self.device = torch.device("cpu")
        self.precision = PRECISIONS[setting.precision]
        self.place = OUTPUTS.index(output)
        self.run: OpenVINOGraph | OnnxRuntimeGraph
        if setting.engine == "openvino":
            model = read_openvino(graph) if isinstance(graph, Path) else graph.clone()
            self.run = OpenVINOGraph(model, self.precision, streams=setting.streams)
        else:
            self.run = OnnxRuntimeGraph(graph)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Run the graph on values from 0 to 255 (B, C, H, W), uint8 or float32."""
        return self.run(pixels.detach().cpu().float())[self.place]
