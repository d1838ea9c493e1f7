"""Conversion of models to OpenVINO, and their files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import VitrailError, last_line
from .onnx_graph import to_onnx
from .openvino_runtime import core, import_openvino
from .program import Program, quiet

_NAMESPACE = "vitrail"


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
            advice = 'pip install "vitrail[onnx]" to try another way, or use another format or engine'
            raise VitrailError(f"OpenVINO cannot convert this model ({last_line(error)}): {advice}") from error
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
