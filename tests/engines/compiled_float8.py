"""Compile a model with 8-bit products as one graph, and compare: `python -m tests.engines.compiled_float8`.

A process of its own, for the compiler can't see through the checks of shapes that the other tests run with.
"""

from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from .test_float8 import difference_of_batches


def traced(model: nn.Module, device: torch.device, *, backend: str) -> Any:
    return torch.compile(model, backend=backend, fullgraph=True)


if __name__ == "__main__":
    # Norms that are computed in parts differ in their last digit, which rounding to 4 bits then makes much of.
    for backend, most in (("eager", 1e-6), ("aot_eager", 0.06)):
        with patch("vitrail.engines.compiled_engine.compile_frozen", partial(traced, backend=backend)):
            for apart in difference_of_batches():
                assert apart < most, (backend, apart)
