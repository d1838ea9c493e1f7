"""ONNX: conversion of models and their weights. The only file that imports onnx."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch

from ..errors import VitrailError
from .program import Program, quiet

MOST_BYTES = 2**31 - 2**20
"""Largest file: a message of Protocol Buffers has less than 2 GiB."""

_SMALL = 1024
"""Tensors with fewer values keep their format."""


def require_onnx() -> None:
    """Raise VitrailError if onnx or onnxscript, which torch.onnx imports, is not installed."""
    if find_spec("onnx") is None or find_spec("onnxscript") is None:
        raise VitrailError('ONNX is not installed: pip install "vitrail[onnx]"')


def to_onnx(program: Program, *, input_name: str = "images", output_names: Sequence[str] = ()) -> Any:
    """An `onnx.ModelProto` of a program.

    Raises:
        VitrailError: ONNX lacks a layer of the model, the model is too large for one file, or onnx is not installed.
    """
    require_onnx()
    if 4 * sum(tensor.numel() for tensor in program.graph.state_dict.values()) > MOST_BYTES:
        raise VitrailError("this model is too large for a single file of ONNX, which has less than 2 GiB: use openvino")
    try:
        with quiet(), torch.no_grad():
            found = torch.onnx.export(
                program.graph,
                dynamo=True,
                verbose=False,
                external_data=False,
                input_names=[input_name],
                output_names=list(output_names) or None,
            )
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise VitrailError(f"this model cannot be written as ONNX ({reason}): use another format or engine") from error
    assert found is not None
    return found.model_proto


def set_facts(model: Any, facts: Mapping[str, str]) -> None:
    """Store name -> value in the metadata_props of a model."""
    model.producer_name = "vitrail"
    for name, value in facts.items():
        model.metadata_props.add(key=name, value=value)


def store_half(model: Any) -> None:
    """Store the large float32 weights of a model in float16, with a cast to float32 behind each."""
    import onnx

    half, casts = [], []
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if tensor.data_type != onnx.TensorProto.FLOAT or values.size < _SMALL:
            half.append(tensor)
            continue
        name = f"{tensor.name}.float16"
        half.append(onnx.numpy_helper.from_array(values.astype("float16"), name))
        casts.append(onnx.helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(half)
    model.graph.node.extend(nodes)
