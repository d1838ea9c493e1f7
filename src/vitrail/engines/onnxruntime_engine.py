"""The ONNX Runtime engine."""

import torch
from torch import nn

from ..errors import VitrailError
from ..machine.devices import pick_device
from .graph_engine import Graph, GraphEngine
from .onnx_graph import require_onnx, to_onnx
from .onnxruntime_graph import OnnxRuntimeGraph, import_onnxruntime
from .program import Program


class OnnxRuntimeEngine(GraphEngine):
    """Runs a model with ONNX Runtime, in float32.

    Args:
        model: see `GraphEngine`.
        device: "auto", "cpu", or "cuda" with the package onnxruntime-gpu.
        precision: "auto" or "float32".
    """

    name = "onnxruntime"

    def __init__(self, model: nn.Module, device: str = "auto", precision: str = "auto") -> None:
        if precision not in ("auto", "float32"):
            raise VitrailError(f"engine onnxruntime computes in float32, not in {precision}: use --precision float32")
        require_onnx()
        import_onnxruntime()
        super().__init__(model, pick_device("cpu" if device == "auto" else device), torch.float32)

    def compile(self, program: Program, dtype: torch.dtype) -> Graph:
        return OnnxRuntimeGraph(to_onnx(program).SerializeToString(), cuda=self.device.type == "cuda")
