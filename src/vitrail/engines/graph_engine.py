"""Base class of the engines that run a graph of another runtime."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_unflatten

from ..machine.allocator import keep_freed_memory
from ..rewrites.inference import for_inference
from .agreement import example_pixels, require_agreement
from .program import Program, to_program

Graph = Callable[[Tensor], list[Tensor]]
"""Batch -> outputs, which belong to the caller."""


class GraphEngine(ABC):
    """Runs a model as a graph of another runtime; makes one graph for each image size, for batches of any size.

    When it is made, it compares its outputs for a batch of random pixels with PyTorch's, see `TOLERANCES`.

    Args:
        model: a model of vitrail, or a module that has one inside; `for_inference(model, graph=True)` is converted,
            with the values that its tensors have when an image size first runs.
        device: device of the computation.
        precision: number format of the matrix products.

    Raises:
        VitrailError: the model cannot be converted, or its outputs differ from PyTorch's.
    """

    name: ClassVar[str]

    def __init__(self, model: nn.Module, device: torch.device, precision: torch.dtype) -> None:
        self.device = device
        self.precision = precision
        shared = for_inference(model)
        elsewhere = any(parameter.device.type != "cpu" for parameter in shared.parameters())
        rewritten = copy.deepcopy(shared).cpu() if elsewhere else shared
        self.model = for_inference(rewritten, graph=True)
        self.graphs: dict[tuple[torch.dtype, tuple[int, ...]], Graph] = {}
        self.programs: dict[tuple[int, ...], Program] = {}
        keep_freed_memory()
        pixels = example_pixels(self.model)
        with torch.inference_mode():
            expected = rewritten(pixels)
        require_agreement(self.name, precision, self(pixels), expected)

    def __call__(self, pixels: Tensor) -> Any:
        """Run the model on pixels (B, C, H, W), float32, or uint8 if the model normalises images itself; outputs are
        float32 on the CPU."""
        given = pixels.detach().cpu()
        size = tuple(given.shape[1:])
        if size not in self.programs:
            self.programs[size] = to_program(self.model, torch.zeros(2, *size))
        program = self.programs[size]
        if (given.dtype, size) not in self.graphs:
            self.graphs[given.dtype, size] = self.compile(program, given.dtype)
        outputs = [_as_float32(tensor) for tensor in self.graphs[given.dtype, size](given)]
        return tree_unflatten(outputs, program.structure)

    @abstractmethod
    def compile(self, program: Program, dtype: torch.dtype) -> Graph:
        """Make the graph of a program, for inputs of `dtype`."""


def _as_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
