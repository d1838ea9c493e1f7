"""Modules that torch.fx has to keep whole."""

from .attention.linear import LinearAttend
from .attention.sparse import GroupedAttend, GroupsOf

FX_LEAVES = (GroupedAttend, GroupsOf, LinearAttend)
"""Modules whose computation depends on the grid or the device in a way that torch.fx cannot follow.

Pass them as leaves to trace models of sparse or linear attention:
`create_feature_extractor(model, nodes, tracer_kwargs={"leaf_modules": list(FX_LEAVES)})`.
"""
