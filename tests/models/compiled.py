"""Compile models as one graph each, and compare: `python compiled.py '{"variant": {overrides}}'`.

A process of its own, for the compiler can't see through the checks of shapes that the other tests run with.
"""

import json
import sys
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

import vitrail


def tuples(value: Any) -> Any:
    return tuple(map(tuples, value)) if isinstance(value, list) else value


for name, overrides in json.loads(sys.argv[1]).items():
    model = vitrail.create_model(name, **{key: tuples(value) for key, value in overrides.items()}).eval()
    inputs = model.config.example_inputs(2)
    inputs[0].normal_()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        for ours, expected in zip(tree_leaves(compiled(*inputs)), tree_leaves(model(*inputs)), strict=True):
            assert torch.allclose(ours, expected, atol=1e-5), name
    torch._dynamo.reset()
