"""The OpenVINO engine."""

import torch
from torch import nn

from ..errors import VitrailError
from ..machine.devices import pick_precision
from .graph_engine import Graph, GraphEngine
from .openvino_convert import to_openvino
from .openvino_graph import OpenVINOGraph
from .openvino_runtime import import_openvino
from .program import Program


class OpenVINOEngine(GraphEngine):
    """Runs a model with OpenVINO on the CPU.

    Args:
        model: see `GraphEngine`.
        device: "auto" or "cpu".
        precision: "auto", "float32" or "bfloat16".
        streams: number of parts of a batch that run at the same time, each on its share of the cores. More than one
            has a higher throughput for large batches, and a longer time for a single image.
    """

    name = "openvino"

    def __init__(self, model: nn.Module, device: str = "auto", precision: str = "auto", *, streams: int = 1) -> None:
        import_openvino()
        if device not in ("auto", "cpu"):
            raise VitrailError(f"engine openvino runs on the CPU, not on {device}: use --device cpu")
        if precision == "float16":
            raise VitrailError("engine openvino has no float16 on the CPU: use --precision bfloat16 or float32")
        if streams < 1:
            raise VitrailError(f"{streams} streams are not possible: use 1 or more")
        self.streams = streams
        cpu = torch.device("cpu")
        super().__init__(model, cpu, pick_precision(precision, cpu))
        for graph in self.graphs.values():  # batches of the user's size come, not those of the comparison with PyTorch
            assert isinstance(graph, OpenVINOGraph)
            graph.forget()

    def compile(self, program: Program, dtype: torch.dtype) -> Graph:
        return OpenVINOGraph(to_openvino(program), self.precision, streams=self.streams, dtype=dtype)
