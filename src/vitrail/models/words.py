"""Literal types of config fields, so that a type checker finds misspelt values."""

from typing import Literal

Activation = Literal["gelu", "gelu_tanh", "quick_gelu"]
"""Activations: GELU, its approximation by tanh, and CLIP's approximation by a sigmoid."""
Interpolation = Literal["nearest", "bilinear", "bicubic"]
"""How a table of positions is resampled to another grid."""
Pool = Literal["class", "mean", "both", "attention", "multi_head"]
"""Pools: the class token, the mean over the patches, both concatenated, the mean of all tokens weighted by learned
scores (CCT), or attention of a learned query with several heads (SigLIP)."""
PatchPool = Literal["mean", "multi_head"]
"""Pools of models without class token, which read the patches alone."""
HeadKind = Literal["linear", "mlp"]
"""Classifiers: a linear layer, or an MLP with one hidden layer of the pool's width and tanh (ViT in pre-training)."""
PositionKind = Literal["learned", "axes", "sinusoidal", "sincos", "none"]
"""Positions: a vector for each cell; a vector for each row and each column; sines along the sequence; sines of row and
column; none."""
Rotation = Literal["axial", "mixed"]
"""Rotary positions: half of the channels turn with the column, half with the row; or learned directions."""
VideoAttention = Literal["divided", "joint", "space"]
"""Video attention: time, then space; all tokens of all frames; inside each frame."""
AttentionKind = Literal["local", "neighbourhood", "axial", "strided", "sparse", "linear", "performer", "relative"]
"""Attentions that can replace ViT's own."""
UniversalTask = Literal["classification", "detection", "segmentation", "depth"]
"""Heads of `UniversalViT`."""
DenseDecoder = Literal["linear", "dpt"]
"""Heads for pixels on a ViT: one linear layer on each patch token, or DPT's fusion of four levels."""
