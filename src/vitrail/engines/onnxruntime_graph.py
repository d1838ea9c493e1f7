"""ONNX Runtime: running of ONNX models. The only file that imports onnxruntime."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import VitrailError
from ..machine.facts import usable_cores

_WARNINGS_OFF = 3


def import_onnxruntime() -> Any:
    """The module onnxruntime.

    Raises:
        VitrailError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise VitrailError('ONNX Runtime is not installed: pip install "vitrail[onnx]"') from error
    return onnxruntime


class OnnxRuntimeGraph:
    """A session that takes batches of any size; integers are converted for a model that takes floats.

    Args:
        model: bytes or path of an ONNX model.
        cuda: run on an NVIDIA GPU, with the package onnxruntime-gpu.

    Attributes:
        facts: name -> value in the model's metadata_props.

    Raises:
        VitrailError: onnxruntime is not installed, or has no CUDA.
    """

    def __init__(self, model: bytes | Path, *, cuda: bool = False) -> None:
        onnxruntime = import_onnxruntime()
        if cuda and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise VitrailError("this ONNX Runtime has no CUDA: pip install onnxruntime-gpu, or use --device cpu")
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = usable_cores()
        # By default its threads go on spinning after a call, and take the cores from whatever runs next.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        settings.log_severity_level = _WARNINGS_OFF
        providers = [*(["CUDAExecutionProvider"] if cuda else []), "CPUExecutionProvider"]
        given = model if isinstance(model, bytes) else str(model)
        self.session = onnxruntime.InferenceSession(given, settings, providers=providers)
        taken = self.session.get_inputs()[0]
        self.input_name = taken.name
        self.takes_floats = taken.type == "tensor(float)"
        self.facts: dict[str, str] = dict(self.session.get_modelmeta().custom_metadata_map)

    def __call__(self, batch: Tensor) -> list[Tensor]:
        values = batch.contiguous().numpy()
        given = values.astype(np.float32, copy=False) if self.takes_floats else values
        found: list[Any] = self.session.run(None, {self.input_name: given})
        return [torch.from_numpy(array) for array in found]
