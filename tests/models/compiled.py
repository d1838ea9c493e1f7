"""Compile models as one graph each, and compare: `python -m tests.models.compiled '["variant"]'`.

A process of its own, for the compiler can't see through the checks of shapes that the other tests run with.
"""

import json
import sys

import torch
from torch.utils._pytree import tree_leaves

from .test_families import build

for name in json.loads(sys.argv[1]):
    model = build(name).eval()
    inputs = model.config.example_inputs(2)
    inputs[0].normal_()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        for ours, expected in zip(tree_leaves(compiled(*inputs)), tree_leaves(model(*inputs)), strict=True):
            assert torch.allclose(ours, expected, atol=1e-5), name
    torch._dynamo.reset()
