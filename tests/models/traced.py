"""Trace models by torch.fx and torch.jit and hold what they give against the models; run by test_ecosystem.py."""

import json
import sys

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves
from torchvision.models.feature_extraction import NodePathTracer, create_feature_extractor

import vitrail
from vitrail.nn import FX_LEAVES

from .test_families import assert_close, build, inputs


class Leaves(nn.Module):
    """A model with its output as a tuple of tensors: torch.jit knows no other."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        return tuple(leaf for leaf in tree_leaves(self.model(*given)) if isinstance(leaf, Tensor))


def trace_by_jit(model: nn.Module) -> None:
    given = inputs(model)
    leaves = Leaves(model)
    with torch.no_grad():
        assert_close(torch.jit.trace(leaves, given, check_trace=False)(*given), leaves(*given))


def trace_by_fx(model: nn.Module) -> None:
    graph = NodePathTracer(leaf_modules=list(FX_LEAVES)).trace(model)
    traced = fx.GraphModule(model, graph)
    for batch in (2, 3):
        given = inputs(model, batch)
        with torch.no_grad():
            assert_close(traced(*given), model(*given))
    if model.config.task.name not in ("classification", "embedding"):
        return  # they may take more than pixels
    last = [str(node.target) for node in graph.nodes if node.op == "call_module"][-1]
    extract = create_feature_extractor(model, {last: "found"}, tracer_kwargs={"leaf_modules": list(FX_LEAVES)})
    given = inputs(model)
    with torch.no_grad(), vitrail.observe_features(model, last) as seen:
        model(*given)
        assert_close(extract(*given)["found"], seen[last])


if __name__ == "__main__":
    for name in json.loads(sys.argv[1]):
        trace_by_jit(build(name).eval())
        trace_by_fx(build(name).eval())
