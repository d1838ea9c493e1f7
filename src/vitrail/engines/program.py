"""`torch.export` of a model, from which the files and the graphs of other runtimes are made."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from ..errors import VitrailError

if TYPE_CHECKING:  # importing torch.export takes as long as importing torch
    from torch.export import ExportedProgram

_MOST_IMAGES = 65_536


@dataclass(frozen=True, slots=True)
class Program:
    """A model as a graph of tensors.

    Attributes:
        graph: what `torch.export` returned.
        shape: shape of the input; -1 for a dimension of any length.
        structure: pytree of the model's output.
    """

    graph: "ExportedProgram"
    shape: tuple[int, ...]
    structure: Any


def to_program(model: nn.Module, example: Tensor, *, any_batch: bool = True, any_size: bool = False) -> Program:
    """Export a model as a graph.

    Args:
        model: takes one tensor; in evaluation mode.
        example: (B, ..., H, W).
        any_batch: whether the graph takes batches of any size, or only that of `example`.
        any_size: whether it takes images of any height and width.

    Raises:
        VitrailError: the model's graph depends on the image, or on its size if that is to be free.
    """
    free: dict[int, Any] = {0: torch.export.Dim("batch", min=1, max=_MOST_IMAGES)} if any_batch else {}
    sides = {example.ndim - 2, example.ndim - 1} if any_size else set()
    # The least side follows from the layers, which PyTorch finds with AUTO; it may also find that the size is fixed.
    free |= dict.fromkeys(sides, torch.export.Dim.AUTO)
    with torch.no_grad(), quiet():
        structure = tree_flatten(model(example))[1]
        try:
            with redirect_stderr(io.StringIO()):  # PyTorch prints the whole graph before it raises an error
                graph = torch.export.export(model, (example,), dynamic_shapes=(free,))
        except Exception as error:
            raise VitrailError(_refused(any_size)) from error
    (name,) = graph.graph_signature.user_inputs
    found = next(node.meta["val"].shape for node in graph.graph.nodes if node.name == name)
    if any(isinstance(found[axis], int) for axis in sides) or (any_size and not _takes_larger(graph, example)):
        raise VitrailError(_refused(any_size))
    shape = tuple(-1 if axis in free else length for axis, length in enumerate(example.shape))
    return Program(graph, shape, structure)


def _takes_larger(graph: "ExportedProgram", example: Tensor) -> bool:
    """Whether a graph runs on larger images than that which it was made with.

    PyTorch marks sides as free whose number of patches is fixed, and writes that only as a guard, which other runtimes
    do not have.
    """
    height, width = example.shape[-2:]
    try:
        graph.module()(example.new_zeros(*example.shape[:-2], height * 3 // 2, width * 2))
    except Exception:
        return False
    return True


def _refused(any_size: bool) -> str:
    if any_size:
        return (
            "this model's graph depends on the image size (its positions or windows follow from it): leave --any-size "
            "out, and export a file for each size with --image-size"
        )
    return (
        "this model's number of tokens depends on what is in the image, or its layers cannot be written as a graph of "
        "fixed shapes: export a model of another family"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Context manager without the warnings of exporters, which are about their own workings."""
    former = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(former)
