"""Layouts of SigLIP."""

from collections.abc import Mapping
from typing import Any

import torch

from ...models.siglip import SigLIPConfig, SigLIPVisionConfig
from . import timm
from .clip import both, image_fields, openai_text, text_fields, transformers_image, transformers_text
from .rename import Layout, Rule, Transform, linear

_PICTURES = {"crop": 1.0, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
_PLAIN = {"position_antialias": False}
_NUMBERS = ("{x}.position_ids",)

_ONE = Transform(lambda vector: vector.reshape(()), lambda number, heads: (number.reshape(1),))
# timm stores the projection of the query separately from that of keys and values.
_QUERY_APART = Transform(
    lambda query, rest: torch.cat([query, rest]),
    lambda joint, heads: tuple(joint.split([len(joint) // 3, len(joint) - len(joint) // 3])),
)


def _pool(ours: str, theirs: str, query: str, project: str, norm: str) -> tuple[Rule, ...]:
    """Rules for the attention pool without the projections of queries, keys and values."""
    return (
        Rule(f"{ours}.query", (f"{theirs}.{query}",)),
        linear(f"{ours}.attention.project", f"{theirs}.{project}"),
        linear(f"{ours}.refine.norm", f"{theirs}.{norm}"),
        linear(f"{ours}.refine.branch.expand", f"{theirs}.mlp.fc1"),
        linear(f"{ours}.refine.branch.contract", f"{theirs}.mlp.fc2"),
    )


def _projections(ours: str) -> tuple[str, ...]:
    return tuple(f"{ours}.attention.{part}" for part in "qkv")


def _timm_pool(ours: str, theirs: str) -> tuple[Rule, ...]:
    return (
        *_pool(ours, theirs, "latent", "proj", "norm"),
        linear(_projections(ours), f"{theirs}.q", f"{theirs}.kv", transform=_QUERY_APART),
    )


def _transformers_pool(ours: str, theirs: str) -> tuple[Rule, ...]:
    joint = tuple(f"{name}.{{p}}" for name in _projections(ours))
    return (
        *_pool(ours, theirs, "probe", "attention.out_proj", "layernorm"),
        Rule(joint, (f"{theirs}.attention.in_proj_{{p}}",)),
    )


def _inside(rules: tuple[Rule, ...], ours: str, theirs: str) -> tuple[Rule, ...]:
    """Prefix rules, for a model that is a part of another."""
    return tuple(
        Rule(tuple(ours + name for name in rule.parts), tuple(theirs + name for name in rule.theirs), rule.transform)
        for rule in rules
    )


_TIMM = (*timm.AROUND, *timm.block(), *_timm_pool("head.pool", "attn_pool"))
TIMM = Layout("timm SigLIP", (*_TIMM, Rule("embed.parts.registers.weight", ("reg_token",))))
OPEN_CLIP = Layout(
    "open_clip SigLIP",
    (
        *_inside(_TIMM, "image.", "visual.trunk."),
        *openai_text("text."),
        linear("text.project", "text.text_projection"),
        Rule("compare.log_scale", ("logit_scale",)),
        Rule("compare.bias", ("logit_bias",)),
    ),
    preprocess=_PICTURES,
    ambiguous={"activation": '"gelu_tanh" (SigLIP 2) or "gelu" (open_clip\'s models of the first release)'},
)
_TRANSFORMERS = Layout(
    "transformers SigLIP",
    (
        *transformers_image("image.", "vision_model."),
        *_transformers_pool("image.head.pool", "vision_model.head"),
        *transformers_text(),
        linear("text.project", "text_model.head"),
        Rule("compare.log_scale", ("logit_scale",), _ONE),
        Rule("compare.bias", ("logit_bias",), _ONE),
    ),
    _NUMBERS,
    fields=_PLAIN,
    preprocess=_PICTURES,
)
_TRANSFORMERS_IMAGE = Layout(
    "transformers SigLIP (image encoder)",
    (*transformers_image("", ""), *_transformers_pool("head.pool", "head")),
    _NUMBERS,
    ("vision_model.",),
    _PLAIN,
    _PICTURES,
)
_TRANSFORMERS_CLASSES = Layout(
    "transformers SigLIP (image classification)",
    (*transformers_image("", ""), linear("head.classify", "classifier")),
    (*_NUMBERS, "head.{x}"),  # the attention pool, which classification leaves out
    ("vision_model.",),
    _PLAIN,
    _PICTURES,
)
# The image encoder alone is first: both layouts have all of its names.
LAYOUTS = (TIMM, OPEN_CLIP, _TRANSFORMERS_IMAGE, _TRANSFORMERS, _TRANSFORMERS_CLASSES)

_DEFAULTS = ("gelu_pytorch_tanh", 1e-6)
_TEXT_DEFAULTS = {
    "max_position_embeddings": 64,
    "vocab_size": 32000,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
}


def _config(card: Mapping[str, Any]) -> SigLIPConfig | SigLIPVisionConfig:
    image, text = both(card, *_DEFAULTS)
    if "SiglipForImageClassification" in (card.get("architectures") or ()):
        return SigLIPVisionConfig(**image_fields(image, *_DEFAULTS, 16), attention_pool=False)
    return SigLIPConfig(**image_fields(image, *_DEFAULTS, 16), **text_fields(text, _TEXT_DEFAULTS))


def _image_config(card: Mapping[str, Any]) -> SigLIPVisionConfig:
    return SigLIPVisionConfig(**image_fields(card, *_DEFAULTS, 16))


CONFIGS = {"siglip": _config, "siglip_vision_model": _image_config}
