"""CvT's names elsewhere."""

from collections.abc import Mapping
from typing import Any

from ...models.cvt import CvTConfig
from .pvt_v2 import patches
from .rename import Layout, Rule, batch_norm, linear

_BLOCK = "encoder.blocks.{s}.blocks.{i}"
_ATTENTION = f"{_BLOCK}.attention.branch"
_LAST = "encoder.blocks.2.reduce.embed"


def _embeds(theirs: str, project: str, norm: str, class_token: str) -> tuple[Rule, ...]:
    """The patches of each stage; in the last they stand beside a class token."""
    places = ("embed", "encoder.blocks.1.reduce.embed", f"{_LAST}.patches")
    rules = [patches(ours, theirs.format(s=stage), project, norm) for stage, ours in enumerate(places)]
    return *(rule for both in rules for rule in both), Rule(f"{_LAST}.parts.prefix.weight", (class_token,))


def _projection(ours: str, conv: str, norm: str, layer: str) -> tuple[Rule, ...]:
    ours = f"{_ATTENTION}.qkv.{ours}"
    return (
        Rule(f"{ours}.conv.weight", (f"{conv}.weight",)),
        batch_norm(f"{ours}.norm", norm),
        linear(f"{ours}.linear", layer),
    )


def _official() -> tuple[Rule, ...]:
    theirs = "stage{s}.blocks.{i}"
    rules = [
        *_embeds("stage{s}.patch_embed", "proj", "norm", "stage2.cls_token"),
        linear(f"{_BLOCK}.attention.norm", f"{theirs}.norm1"),
        linear(f"{_ATTENTION}.project", f"{theirs}.attn.proj"),
        linear(f"{_BLOCK}.mlp.norm", f"{theirs}.norm2"),
        linear(f"{_BLOCK}.mlp.branch.expand", f"{theirs}.mlp.fc1"),
        linear(f"{_BLOCK}.mlp.branch.contract", f"{theirs}.mlp.fc2"),
        linear("encoder.norm", "norm"),
        linear("head.classify", "head"),
    ]
    for part in "qkv":
        conv = f"{theirs}.attn.conv_proj_{part}"
        rules += _projection(part, f"{conv}.conv", f"{conv}.bn", f"{theirs}.attn.proj_{part}")
    return tuple(rules)


def _transformers() -> tuple[Rule, ...]:
    theirs = "encoder.stages.{s}.layers.{i}"
    embedding = "encoder.stages.{s}.embedding.convolution_embeddings"
    rules = [
        *_embeds(embedding, "projection", "normalization", "encoder.stages.2.cls_token"),
        linear(f"{_BLOCK}.attention.norm", f"{theirs}.layernorm_before"),
        linear(f"{_ATTENTION}.project", f"{theirs}.attention.output.dense"),
        linear(f"{_BLOCK}.mlp.norm", f"{theirs}.layernorm_after"),
        linear(f"{_BLOCK}.mlp.branch.expand", f"{theirs}.intermediate.dense"),
        linear(f"{_BLOCK}.mlp.branch.contract", f"{theirs}.output.dense"),
        linear("encoder.norm", "layernorm"),
        linear("head.classify", "classifier"),
    ]
    for part, name in (("q", "query"), ("k", "key"), ("v", "value")):
        inner = f"{theirs}.attention.attention"
        conv = f"{inner}.convolution_projection_{name}.convolution_projection"
        rules += _projection(part, f"{conv}.convolution", f"{conv}.normalization", f"{inner}.projection_{name}")
    return tuple(rules)


LAYOUTS = (
    Layout("official CvT", _official(), prefixes=("module.",)),
    Layout("transformers CvT", _transformers(), prefixes=("cvt.",)),
)


def _config(card: Mapping[str, Any]) -> CvTConfig:
    # The card's layer_norm_eps is not what its layer norms use; and it says nothing of the picture's size.
    return CvTConfig(
        in_channels=card["num_channels"],
        embed_dims=tuple(card["embed_dim"]),
        depths=tuple(card["depth"]),
        num_heads=tuple(card["num_heads"]),
        mlp_ratio=card["mlp_ratio"][0],
    )


CONFIGS = {"cvt": _config}
