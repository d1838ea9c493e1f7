"""OpenVINO's models: read, compiled, and kept as files of what was compiled."""

from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import VitrailError
from ..machine.facts import usable_cores

Settings = dict[str, str]
"""Properties of OpenVINO's `compile_model`."""

_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def import_openvino() -> Any:
    """The module openvino.

    Raises:
        VitrailError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise VitrailError('OpenVINO is not installed: pip install "vitrail[openvino]"') from error
    return openvino


@cache
def core() -> Any:
    """The `openvino.Core` of this process, which is never freed: see `same_signal_stack`."""
    return import_openvino().Core()


def read_openvino(path: Path) -> Any:
    """A model that `write_openvino` wrote, as an `openvino.Model`."""
    return core().read_model(str(path))


def taking_uint8(model: Any) -> Any:
    """The model with an input of type uint8."""
    openvino = import_openvino()
    steps = openvino.preprocess.PrePostProcessor(model)
    steps.input().tensor().set_element_type(openvino.Type.u8)
    return steps.build()


def settings_for(precision: str, streams: int, device: str = "CPU") -> Settings:
    """How a model is compiled.

    Args:
        precision: number format of the matrix products, a name of `PRECISIONS`.
        streams: number of requests that run at the same time, each on its share of the cores.
        device: a device of OpenVINO.
    """
    cores = {"INFERENCE_NUM_THREADS": str(max(streams, usable_cores()))} if device == "CPU" else {}
    return {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "NUM_STREAMS": str(streams),
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        **cores,
    }


def fitting_size(count: int, sizes: Collection[int]) -> int | None:
    """The smallest of some batch sizes that `count` images fill by more than half; None if there is none."""
    return min((size for size in sizes if count <= size < 2 * count), default=None)


def compiled_requests(model: Any, size: int | None, settings: Settings, device: str = "CPU") -> list[Any]:
    """Compile a model; a request for each stream.

    Args:
        model: an `openvino.Model`; it is not changed.
        size: batch size; None: any, which is slower, as OpenVINO fuses element-wise operations only if all shapes are
            known.
        settings: see `settings_for`.
        device: a device of OpenVINO.
    """
    return _requests(core().compile_model(_of_size(model, size), device, settings), settings)


def compiled_bytes(model: Any, size: int, settings: Settings) -> bytes | None:
    """What `imported_requests` reads in place of compiling a model for the CPU, which takes longer; None
    if this OpenVINO cannot write it."""
    with_weights = {**settings, "CACHE_MODE": "OPTIMIZE_SPEED"}
    try:
        compiled = core().compile_model(_of_size(model, size), "CPU", with_weights)
        exported: bytes = compiled.export_model().getvalue()
    except RuntimeError:
        return None
    return exported


def imported_requests(path: Path, settings: Settings) -> list[Any] | None:
    """A request for each stream of what `compiled_bytes` wrote; None if this OpenVINO cannot read it."""
    try:
        compiled = core().import_model(path.read_bytes(), "CPU", settings)
    except (OSError, RuntimeError):
        return None
    return _requests(compiled, settings)


def _of_size(model: Any, size: int | None) -> Any:
    if size is None:
        return model
    model, shape = model.clone(), model.inputs[0].get_partial_shape()
    shape[0] = size
    model.reshape({model.inputs[0]: shape})
    return model


def _requests(compiled: Any, settings: Settings) -> list[Any]:
    return [compiled.create_infer_request() for _ in range(int(settings["NUM_STREAMS"]))]
