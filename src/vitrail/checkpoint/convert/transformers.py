"""Layouts of transformers' ViTs: the names in files on the hub, and those of its modules since version 5."""

from typing import Any

from .block import named_block
from .rename import TOKENS, Layout, Rule, linear

_SHARED = (
    linear("embed.patches.project", "embeddings.patch_embeddings.projection"),
    Rule("embed.parts.positions.weight", ("embeddings.position_embeddings",)),
    linear("encoder.norm", "layernorm"),
)
NORMS = ("layernorm_before", "layernorm_after")
FILES: dict[str, Any] = {
    "qkv": ("attention.attention.query", "attention.attention.key", "attention.attention.value"),
    "project": "attention.output.dense",
    "expand": "intermediate.dense",
    "contract": "output.dense",
}
"""Names of the layers of a block in files on the hub."""
MODULES: dict[str, Any] = {
    "qkv": ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    "project": "attention.o_proj",
    "expand": "mlp.fc1",
    "contract": "mlp.fc2",
}
"""Names of the layers of a block in the modules since version 5."""


def block(
    theirs: str,
    ours: str = "encoder.blocks.{i}",
    *,
    qkv: tuple[str, str, str],
    project: str,
    expand: str,
    contract: str,
) -> tuple[Rule, ...]:
    """Rules for the usual block."""
    return named_block(theirs, norms=NORMS, qkv=qkv, project=project, mlp=(expand, contract), ours=ours)


_FILES = block("encoder.layer.{i}", **FILES)
_MODULES = block("layers.{i}", **MODULES)
_VIT = (
    Rule("embed.parts.prefix.weight", ("embeddings.cls_token",)),
    linear("head.classify", "classifier"),
)
_BOTH_TOKENS = Rule("embed.parts.prefix.weight", ("embeddings.cls_token", "embeddings.distillation_token"), TOKENS)
_TEACHER = (
    _BOTH_TOKENS,
    linear("head.classify", "cls_classifier"),
    linear("head.distill", "distillation_classifier"),
)
_BOTH_TOKENS_ONE_HEAD = (_BOTH_TOKENS, linear("head.classify", "classifier"))
_UNUSED = ("pooler.dense.{p}", "embeddings.mask_token")
_PREFIXES = ("vit.", "deit.")
_FIELDS = {"norm_eps": 1e-12, "position_antialias": False}
_PREPROCESS = {"crop": 1.0, "interpolation": "bilinear", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

LAYOUTS = tuple(
    Layout(f"transformers {model} ({kind})", (*_SHARED, *blocks, *ends), _UNUSED, _PREFIXES, _FIELDS, _PREPROCESS)
    for kind, blocks in (("files", _FILES), ("modules", _MODULES))
    for model, ends in (("ViT", _VIT), ("DeiT", _TEACHER), ("DeiT without distillation", _BOTH_TOKENS_ONE_HEAD))
)
