"""Layouts of MAE. The released encoders alone have the names of a ViT, and are read as one."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...models.fields import Size, pair
from ...models.mae import MAEConfig
from ...models.vit import ViTConfig
from ...nn.embed.positions import sincos_positions
from . import timm, transformers
from .expect import expect, vit_fields
from .rename import Layout, Rule, linear


def _table(dim: int, image_size: Size, patch_size: Size) -> Tensor:
    """The positions of MAE's models: zeros for the class token, then sines for the grid."""
    rows, columns = (side // patch for side, patch in zip(pair(image_size), pair(patch_size), strict=True))
    return torch.cat([torch.zeros(1, 1, dim), sincos_positions(rows, columns, dim, inclusive=False)], dim=1)


def _encoder_table(config: MAEConfig) -> Tensor:
    return _table(config.embed_dim, config.image_size, config.patch_size)


def _decoder_table(config: MAEConfig) -> Tensor:
    return _table(config.decoder_dim, config.image_size, config.patch_size)


_DECODER = "head.encoder.blocks.{i}"

_OFFICIAL = Layout(
    "official MAE",
    (
        *timm.CLASS,
        *timm.block(),
        *timm.block(_DECODER, "decoder_blocks.{i}"),
        linear("embed.patches.project", "patch_embed.proj"),
        linear("encoder.norm", "norm"),
        linear("head.embed", "decoder_embed"),
        Rule("head.mask_token", ("mask_token",)),
        linear("head.encoder.norm", "decoder_norm"),
        linear("head.predict", "decoder_pred"),
    ),
    prefixes=("module.",),
    computed={"pos_embed": _encoder_table, "decoder_pos_embed": _decoder_table},
)


def _transformers(kind: str, encoder: str, decoder: str, names: dict[str, Any]) -> Layout:
    rules = (
        Rule("embed.parts.prefix.weight", ("embeddings.cls_token",)),
        *transformers.block(encoder, **names),
        *transformers.block(f"decoder.{decoder}", _DECODER, **names),
        linear("embed.patches.project", "embeddings.patch_embeddings.projection"),
        linear("encoder.norm", "layernorm"),
        linear("head.embed", "decoder.decoder_embed"),
        Rule("head.mask_token", ("decoder.mask_token",)),
        linear("head.encoder.norm", "decoder.decoder_norm"),
        linear("head.predict", "decoder.decoder_pred"),
    )
    computed = {"embeddings.position_embeddings": _encoder_table, "decoder.decoder_pos_embed": _decoder_table}
    return Layout(f"transformers MAE ({kind})", rules, prefixes=("vit.",), computed=computed)


LAYOUTS = (
    _OFFICIAL,
    _transformers("files", "encoder.layer.{i}", "decoder_encoder.layer.{i}", transformers.FILES),
    _transformers("modules", "layers.{i}", "decoder_layers.{i}", transformers.MODULES),
)


def _config(card: Mapping[str, Any]) -> MAEConfig | ViTConfig:
    expect(card, hidden_act="gelu", qkv_bias=True)
    encoder = vit_fields(card)
    if "ViTMAEForPreTraining" not in (card.get("architectures") or ()):
        return ViTConfig(num_classes=0, position_antialias=False, **encoder)
    return MAEConfig(
        mask_ratio=card["mask_ratio"],
        decoder_dim=card["decoder_hidden_size"],
        decoder_depth=card["decoder_num_hidden_layers"],
        decoder_heads=card["decoder_num_attention_heads"],
        **encoder,
    )


CONFIGS = {"vit_mae": _config}
