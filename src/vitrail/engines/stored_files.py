"""Files of the choice that `vitrail optimize` stores beside a checkpoint's manifest."""

import re
from pathlib import Path

from ..checkpoint.atomic import read_manifest

FOLDER, CHOICE = "optimized", "choice.json"
GRAPHS = {"openvino": "model.xml", "onnxruntime": "model.onnx"}
"""Engine -> file of its stored graph; other engines have none."""
BATCH_SIZES = (1, 32)
"""Sizes of batches for which a graph of OpenVINO is also stored as it is compiled: one image, and the default of
commands."""

_COMPILED = re.compile(r"compiled-([1-9]\d{0,8})\.blob")


def compiled_name(size: int) -> str:
    """Name of the file with what was compiled for parts of a batch of this size."""
    return f"compiled-{size}.blob"


def compiled_files(folder: Path) -> dict[int, Path]:
    """Size of a part of a batch -> file, of those in the manifest of a folder that `compiled_name` named."""
    found = ((_COMPILED.fullmatch(name), folder / name) for name in read_manifest(folder))
    return {int(match[1]): file for match, file in found if match}
