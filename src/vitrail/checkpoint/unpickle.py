"""Read a pickle of tensors and write safetensors; run as `python -m vitrail.checkpoint.unpickle IN OUT`.

`torch.load(weights_only=True)` refuses everything but tensors and plain containers; a process of its own
keeps what might still go wrong away from the caller.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from safetensors.torch import save_file

REFUSED = 3
"""The exit status for a file that is not only tensors."""


def main(source: str, target: str) -> int:
    """Convert one file; 0 when done, otherwise the reason is on standard error."""
    try:
        # Training scripts keep their options beside the weights; a namespace holds values and runs nothing.
        with torch.serialization.safe_globals([argparse.Namespace]):
            document = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:
        # Whatever a hostile file raises is a refusal: the parent gets its first line.
        print(
            str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__,
            file=sys.stderr,
        )
        return REFUSED
    save_file({name: tensor.clone().contiguous() for name, tensor in _weights(document)}, target)
    return 0


def _weights(document: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for envelope in ("model", "state_dict"):
        if isinstance(document, Mapping) and isinstance(document.get(envelope), Mapping):
            document = document[envelope]
    for name, value in document.items() if isinstance(document, Mapping) else ():
        if isinstance(value, torch.Tensor):
            yield str(name), value


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
