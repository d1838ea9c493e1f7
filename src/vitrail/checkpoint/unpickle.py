"""Read a pickle of tensors and write safetensors; run as a script with the arguments IN OUT.

It imports nothing of ours, so that it runs in an isolated Python, see `transfer`.

`torch.load(weights_only=True)` refuses everything but tensors and plain containers; a separate process isolates the
caller from remaining faults.
"""

import argparse
import pickle
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from safetensors.torch import save_file

REFUSED = 3
"""Exit status for a file with other objects than tensors."""


def main(source: str, target: str) -> int:
    """Convert one file and return the exit status: 0, or another with the reason on standard error."""
    try:
        # Training scripts save their options beside the weights; a namespace has values and runs no code.
        with torch.serialization.safe_globals([argparse.Namespace]):
            document = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:
        # Any exception of a hostile file is a refusal; the parent gets a line.
        print(_reason(error), file=sys.stderr)
        return REFUSED
    save_file({name: tensor.clone().contiguous() for name, tensor in _weights(document)}, target)
    return 0


def _reason(error: Exception) -> str:
    """The reason in a line, without torch's advice to load the file in a way that runs its code."""
    text = str(error)
    if refused := re.search(r"GLOBAL (\S+)", text):
        return f"it contains {refused[1]}, which is not a tensor"
    if isinstance(error, pickle.UnpicklingError):
        return "it contains objects other than tensors, or is damaged"
    return text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__


def _weights(document: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for envelope in ("model", "state_dict"):
        if isinstance(document, Mapping) and isinstance(document.get(envelope), Mapping):
            document = document[envelope]
    for name, value in document.items() if isinstance(document, Mapping) else ():
        if isinstance(value, torch.Tensor):
            yield str(name), value


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
