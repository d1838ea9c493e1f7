"""Compile models as one graph each, and compare: `python compiled.py '{"variant": {overrides}}'`.

A process of its own, for the compiler can't see through the checks of shapes that the other tests run with.
"""

import json
import sys

import torch

import vitrail

for name, overrides in json.loads(sys.argv[1]).items():
    model = vitrail.create_model(name, num_classes=5, **overrides).eval()
    images = torch.randn(2, 3, model.config.image_size, model.config.image_size)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        assert torch.allclose(compiled(images), model(images), atol=1e-6), name
    torch._dynamo.reset()
