"""Trace models by torch.fx and hold what the graphs give against the models; run by test_ecosystem.py."""

import json
import sys

import torch
from torch import fx
from torchvision.models.feature_extraction import NodePathTracer, create_feature_extractor

import vitrail
from vitrail.models.fields import task_of
from vitrail.nn import FX_LEAVES

from .test_families import assert_close, build, inputs

for name in json.loads(sys.argv[1]):
    model = build(name).eval()
    graph = NodePathTracer(leaf_modules=list(FX_LEAVES)).trace(model)
    traced = fx.GraphModule(model, graph)
    for batch in (2, 3):
        given = inputs(model, batch)
        with torch.no_grad():
            assert_close(traced(*given), model(*given))
    if task_of(model.config) != "classification":
        continue  # they may take more than pixels
    last = [str(node.target) for node in graph.nodes if node.op == "call_module"][-1]
    extract = create_feature_extractor(model, {last: "found"}, tracer_kwargs={"leaf_modules": list(FX_LEAVES)})
    given = inputs(model)
    with torch.no_grad(), vitrail.features(model, last) as seen:
        model(*given)
        assert_close(extract(*given)["found"], seen[last])
