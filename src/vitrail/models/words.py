"""Words that fields of configs take, as types, so that a type checker finds a misspelt one."""

from typing import Literal

Activation = Literal["gelu", "gelu_tanh", "quick_gelu"]
"""GELU, its approximation by tanh, and CLIP's by a sigmoid."""
Interpolation = Literal["nearest", "bilinear", "bicubic"]
"""How a table of positions is resampled to another grid."""
Pool = Literal["class", "mean", "both", "attention", "multi_head"]
"""What a head classifies: the class token, the mean over the patches, one beside the other, the mean of
all tokens weighted by a learned score of each (CCT), or the answer of a learned query with several heads (SigLIP)."""
HeadKind = Literal["linear", "mlp"]
"""A linear layer, or one hidden layer of the pool's width with tanh in front of it (ViT in pre-training)."""
PositionKind = Literal["learned", "axes", "sinusoidal", "sincos", "none"]
"""One vector a cell; one a row and one a column; sines along the sequence; sines of row and column; nothing."""
VideoAttention = Literal["divided", "joint", "space"]
"""Time, then space; all tokens of all frames; each frame by itself."""
AttentionKind = Literal["local", "neighbourhood", "axial", "strided", "sparse", "linear", "performer", "relative"]
"""Attentions in the place of ViT's own."""
UniversalTask = Literal["classification", "detection", "segmentation", "depth"]
"""Heads of `UniversalViT`."""
