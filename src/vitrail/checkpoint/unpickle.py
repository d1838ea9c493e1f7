"""Read a pickle of tensors and write safetensors; run as a module with the arguments IN OUT, see `transfer`.

`torch.load(weights_only=True)` refuses everything but tensors and plain containers; a separate process isolates the
caller from remaining faults. What is found besides the tensors goes to standard output as JSON, see `main`.
"""

import argparse
import collections
import json
import pathlib
import pickle
import re
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from .envelope import unwrap

REFUSED = 3
"""Exit status for a file with other objects than tensors."""


class Options(dict[str, Any]):
    """Stands for the dictionaries with which other libraries store options; nothing of those libraries is imported."""


_DICTIONARIES = (
    *("pytorch_lightning.utilities.parsing.AttributeDict", "lightning.pytorch.utilities.parsing.AttributeDict"),
    *("lightning_fabric.utilities.data.AttributeDict", "lightning.fabric.utilities.data.AttributeDict"),
    *("yacs.config.CfgNode", "addict.addict.Dict", "mmengine.config.config.ConfigDict", "mmcv.utils.config.ConfigDict"),
)
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def harmless() -> list[Any]:
    """Classes and functions that build values and run no code of the file: scalars of NumPy, paths, options.

    Training scripts save them beside the weights, such as a metric as a NumPy scalar.
    """
    scalar: Any = np.float64(0).__reduce__()[0]
    array: Any = np.zeros(0).__reduce__()[0]
    places = [(function, core) for function in (scalar, array) for core in ("core", "_core")]
    paths = [(path, module) for path in ("PurePosixPath", "PosixPath", "PureWindowsPath") for module in ("", "._local")]
    return [
        *(argparse.Namespace, collections.defaultdict, np.dtype, np.ndarray),
        *(type(np.dtype(code)) for code in "?bBhHiIlLqQefdgSUM"),
        *((function, f"numpy.{core}.multiarray.{function.__name__}") for function, core in places),
        *((pathlib.PurePosixPath, f"pathlib{module}.{path}") for path, module in paths),
        *((Options, name) for name in _DICTIONARIES),
    ]


def main(source: str, target: str) -> int:
    """Convert one file and return the exit status: 0, or another with the reason on standard error.

    Prints {"notes": sentences on what was chosen, "architecture": name of the model in the file, or null}.
    """
    try:
        with torch.serialization.safe_globals(harmless()):
            document = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:
        # Any exception of a hostile file is a refusal; the parent gets a line.
        print(_reason(error), file=sys.stderr)
        return REFUSED
    state, notes = unwrap(document)
    if giant := next((name for name, value in state.items() if _is_giant(value)), None):
        print(f"its tensor {giant[:80]!r} has more values than the file", file=sys.stderr)
        return REFUSED
    tensors = {name: torch.as_tensor(value).clone().contiguous() for name, value in state.items()}
    save_file(tensors, target)
    name = document.get("arch") if isinstance(document, Mapping) else None
    print(json.dumps({"notes": notes, "architecture": name if isinstance(name, str) else None}))
    return 0


def _is_giant(value: Any) -> bool:
    """Whether a tensor repeats its values, so that writing them takes more memory than reading the file."""
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_meta:
        return False
    return value.numel() * value.element_size() > value.untyped_storage().nbytes()


def _reason(error: Exception) -> str:
    """The reason in a line, without torch's advice to load the file in a way that runs its code."""
    text = _ESCAPES.sub("", str(error)).strip()
    if found := re.search(r"GLOBAL ([\w.]+)", text):
        return f"it holds a {found[1]}, and only tensors, numbers and plain containers are read"
    if isinstance(error, pickle.UnpicklingError):
        return "it contains objects other than tensors, or is damaged"
    return text.splitlines()[0][:200] if text else type(error).__name__


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
