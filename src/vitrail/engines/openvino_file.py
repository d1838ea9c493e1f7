"""Graphs of a checkpoint for OpenVINO that are stored on disk: prediction and embedding, in one pass."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..machine.allocator import keep_freed_memory
from .openvino_graph import OpenVINOGraph, read_openvino

OUTPUTS = ("prediction", "embedding")


class OpenVINOFile:
    """An engine that runs one output of a stored graph on the CPU.

    Args:
        graph: path of an .xml file, or an `openvino.Model` with `OUTPUTS`; see `to_graph`.
        precision: number format of the matrix products that are not of 8-bit integers.
        streams: parts of a batch that run at the same time.
        output: one of `OUTPUTS`.
    """

    def __init__(
        self, graph: Any, precision: torch.dtype = torch.float32, *, streams: int = 1, output: str = OUTPUTS[0]
    ) -> None:
        keep_freed_memory()
        self.device = torch.device("cpu")
        self.precision = precision
        self.place = OUTPUTS.index(output)
        model = read_openvino(graph)[0] if isinstance(graph, Path) else graph.clone()
        self.graph = OpenVINOGraph(model, precision, streams=streams)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Run the graph on values from 0 to 255 (B, C, H, W), uint8 or float32."""
        return self.graph(pixels.detach().cpu().float())[self.place]
