"""The model that engines run: a copy that shares its tensors, with the exact rewrites that save time."""

from collections.abc import Sequence
from typing import TypeVar

from ..errors import VitrailError
from ..nn import BaseVisionModel
from .base import Rewrite
from .fold import FoldBatchNorm, FoldLayerScale
from .lora import MergeLoRA
from .read_tokens import ReadTokensOnly
from .registry import replay
from .sharing import shared_copy

ModelT = TypeVar("ModelT", bound=BaseVisionModel)

INFERENCE: Sequence[Rewrite] = (MergeLoRA(), FoldBatchNorm(), FoldLayerScale(), ReadTokensOnly())
"""Exact rewrites that save time in every engine, in order.

`fold_norm_affine` and `fold_query_scale` are not among them: they save no time in PyTorch, whose kernels multiply on
the way, and would need a second copy of most weights.
"""


def for_inference(model: ModelT) -> ModelT:
    """A copy of a model in evaluation mode, with those of `INFERENCE` that apply; outputs are equal up to rounding.

    The copy shares all tensors that do not change, so that it needs hardly any memory and sees changes of their values;
    the others are computed once. The model given is not changed.
    """
    copy = shared_copy(model).eval()
    for change in INFERENCE:
        try:
            replay(copy, [change])
        except VitrailError:  # the model has nothing that this one changes
            continue
    return copy
