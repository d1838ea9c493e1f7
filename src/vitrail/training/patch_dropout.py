"""Patch dropout of a model that is trained."""

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import (
    MLP,
    Attend,
    BaseVisionModel,
    Block,
    Embedding,
    Encoder,
    JointProjection,
    LayerScale,
    MultiHeadAttention,
    PatchDropout,
    Residual,
    VisionModel,
)
from ..nn.attention.multi_head import NoBias, NoRefinement
from ..nn.blocks import Blocks
from ..nn.residual import DropPath

_WITHOUT_PLACES = (
    *(Encoder, Blocks, Block, Residual, DropPath, LayerScale, MLP),
    *(MultiHeadAttention, JointProjection, NoRefinement, NoBias, Attend),
    *(nn.LayerNorm, nn.Linear, nn.Dropout, nn.Identity, nn.GELU, nn.ReLU, nn.SiLU),
)
"""Parts of an encoder that treat every set of tokens alike, wherever the tokens are in the image."""


def add_patch_dropout(model: BaseVisionModel[ModelConfig], rate: float) -> None:
    """Add patch dropout behind the embedding, in place; it has no parameters, so the model's state is the same.

    Raises:
        VitrailError: the encoder needs all patches.
    """
    if rate:
        embed = embedding_before_plain_encoder(model)
        embed.parts.add_module("patch_dropout", PatchDropout(rate))


def embedding_before_plain_encoder(model: BaseVisionModel[ModelConfig]) -> Embedding:
    """The embedding of a model whose encoder takes any part of the patches.

    Raises:
        VitrailError: another kind of model.
    """
    if not isinstance(model, VisionModel) or not isinstance(model.embed, Embedding):
        raise _impossible(model, type(model).__name__)
    for name, module in model.encoder.named_modules():
        kind = type_before_parametrizations(module)  # of a layer with a low-rank update
        if kind not in _WITHOUT_PLACES and "parametrizations" not in name.split("."):
            raise _impossible(model, kind.__name__)
    return model.embed


def _impossible(model: BaseVisionModel[ModelConfig], part: str) -> VitrailError:
    return VitrailError(
        f"patch_dropout leaves out patches, and {type(model.config).__name__} needs all of them for its {part}: set "
        "patch_dropout=0, or choose a model with a plain encoder, such as vit_small_patch16_224 or compact_small_32"
    )
