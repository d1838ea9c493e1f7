"""Modules that must be leaves in torch.fx graphs."""

from .attention.linear import LinearAttend
from .attention.sparse import GroupedAttend, GroupsOf

FX_LEAVES = (GroupedAttend, GroupsOf, LinearAttend)
"""Modules whose computation depends on the grid or the device, which torch.fx cannot trace.

Pass them as leaves to trace models of sparse or linear attention:
`create_feature_extractor(model, nodes, tracer_kwargs={"leaf_modules": list(FX_LEAVES)})`.
"""
