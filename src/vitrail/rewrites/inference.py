"""The model that engines run: a copy that shares its tensors, with the exact rewrites that save time."""

from collections.abc import Sequence
from typing import TypeVar

from torch import nn

from ..errors import VitrailError
from ..nn import BaseVisionModel, EmbeddingModel
from .base import Rewrite
from .fold import FoldBatchNorm, FoldLayerScale
from .lora import MergeLoRA
from .positions import BakePositions
from .query_scale import FoldQueryScale
from .read_tokens import ReadTokensOnly
from .registry import replay
from .sharing import shared_copy

ModelT = TypeVar("ModelT", bound=nn.Module)

INFERENCE: Sequence[Rewrite] = (MergeLoRA(), FoldBatchNorm(), FoldLayerScale(), ReadTokensOnly())
"""Exact rewrites that save time in every engine, in order.

`fold_norm_affine` is not among them: it saves no time, as all engines multiply on the way, and would need a second copy
of most weights.
"""

GRAPH: Sequence[Rewrite] = (FoldQueryScale(),)
"""Those that save time in graphs of other runtimes: PyTorch's attention kernels multiply on the way."""


def for_inference(model: ModelT, *, image_size: tuple[int, int] | None = None, graph: bool = False) -> ModelT:
    """A copy of a model in evaluation mode, with those of `INFERENCE` that apply; outputs are equal up to rounding.

    The copy shares all tensors that do not change, so that it needs hardly any memory (for a graph, a quarter of a ViT,
    whose query projections change); the others are computed once.
    The model given is not changed.

    Args:
        model: a model of images, or an `EmbeddingModel`; other modules are returned as they are, in evaluation mode, as
            they may read what the rewrites change.
        image_size: height and width of all images, for which positions are baked too; None for any size.
        graph: whether it will be converted to a graph of another runtime, for which those of `GRAPH` apply too.
    """
    given: nn.Module = model
    if not isinstance(given, BaseVisionModel | EmbeddingModel):
        return model.eval()
    copy = shared_copy(model).eval()
    images = copy.whole if isinstance(copy, EmbeddingModel) else copy
    if isinstance(images, BaseVisionModel):
        baked = [BakePositions(image_size)] if image_size else []
        for change in (*INFERENCE, *(GRAPH if graph else ()), *baked):
            try:
                replay(images, [change])
            except VitrailError:  # the model has nothing that this one changes
                continue
    return copy
