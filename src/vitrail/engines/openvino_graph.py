"""Running of OpenVINO's models on batches of any size."""

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..machine.devices import precision_name
from .openvino_runtime import (
    compiled_requests,
    fitting_size,
    import_openvino,
    imported_requests,
    read_openvino,
    settings_for,
    taking_uint8,
)

_SIZES = 3
"""Most batch sizes that a model is compiled for here; further ones have a graph of open size."""
_OPEN = 0
"""Key of the graph of open size."""


class OpenVINOGraph:
    """A model that takes batches of any size; calls from several threads wait for each other.

    It is compiled for the sizes that come. Each size has weights of its own, in the layout of the products: from the
    fourth on, sizes share a slower graph; those of stored files do not count. A batch of more than half of a size is
    filled up to it. Buffers are used again and again.

    Args:
        model: an `openvino.Model`, or the path of its .xml file.
        precision: number format of the matrix products.
        streams: number of parts of a batch that run at the same time, each on its share of the cores.
        device: a device of OpenVINO, such as "CPU".
        dtype: of the input, if it is not that of the model.
        compiled: batch size of a part -> file with what was compiled for it on the CPU, with the same arguments
            otherwise, see `compiled_bytes`.
    """

    def __init__(
        self,
        model: Any,
        precision: torch.dtype = torch.float32,
        *,
        streams: int = 1,
        device: str = "CPU",
        dtype: torch.dtype | None = None,
        compiled: Mapping[int, Path] | None = None,
    ) -> None:
        model = read_openvino(model) if isinstance(model, Path) else model
        self.model = taking_uint8(model) if dtype == torch.uint8 else model
        self.streams = streams
        self.device = device
        self.settings = settings_for(precision_name(precision), streams, device)
        self.compiled = compiled or {}
        self.tensor: Any = import_openvino().Tensor
        self.requests: dict[int, list[Any]] = {}
        self.alone = Lock()

    def __call__(self, batch: Tensor) -> list[Tensor]:
        with self.alone:  # requests and their buffers are used again
            return self._run(batch)

    def _run(self, batch: Tensor) -> list[Tensor]:
        count = max(-(-len(batch) // self.streams), 1)
        parts = [part for part in batch.contiguous().split(count) if len(part)] or [batch]
        size = self._size(count)
        running = self.requests[size][: len(parts)]
        arrays = [_filled(part, size).numpy() for part in parts]  # held here, as OpenVINO reads their memory
        try:
            for request, array in zip(running, arrays, strict=True):
                request.set_input_tensor(self.tensor(array, shared_memory=True))
                request.start_async()
        finally:
            for request in running:
                request.wait()
        found = [(request, len(part)) for request, part in zip(running, parts, strict=True)]
        # Copies, as the next call writes into the same buffers.
        return [
            torch.from_numpy(np.concatenate([request.get_output_tensor(index).data[:rows] for request, rows in found]))
            for index in range(len(running[0].model_outputs))
        ]

    def forget(self) -> None:
        """Free what was compiled."""
        self.requests.clear()

    def _size(self, count: int) -> int:
        """The batch size of the graph that a part of this many images runs with, or `_OPEN`."""
        size = fitting_size(count, {*self.requests, *self.compiled})
        if size is None:
            size = count if len(self.requests.keys() - self.compiled.keys()) < _SIZES else _OPEN
        if size not in self.requests:
            self.requests[size] = self._requests(size)
        return size

    def _requests(self, size: int) -> list[Any]:
        """A request for each stream."""
        if size in self.compiled and (found := imported_requests(self.compiled[size], self.settings)) is not None:
            return found
        return compiled_requests(self.model, None if size == _OPEN else size, self.settings, self.device)


def _filled(part: Tensor, size: int) -> Tensor:
    """The part with zeros behind it, if it is smaller than a size."""
    return part if len(part) >= size else torch.cat([part, part.new_zeros(size - len(part), *part.shape[1:])])
