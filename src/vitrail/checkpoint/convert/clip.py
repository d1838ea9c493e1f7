"""Layouts of CLIP."""

from collections.abc import Mapping
from typing import Any

from ...errors import VitrailError
from ...models.clip import CLIPConfig, CLIPVisionConfig
from . import timm
from .block import named_block
from .rename import Layout, Rule, Transform, linear

_OPENAI_STATISTICS = {"mean": (0.48145466, 0.4578275, 0.40821073), "std": (0.26862954, 0.26130258, 0.27577711)}
_OPENAI_IMAGES = {"crop": 1.0, **_OPENAI_STATISTICS}
_PLAIN = {"position_antialias": False}
_NUMBERS = ("{x}.position_ids",)  # position indices without learned values, in older files

_COUNTS = ("input_resolution", "context_length", "vocab_size")  # only in OpenAI's own files

VECTOR = Transform(lambda row: row.reshape(1, 1, -1), lambda token, heads: (token.flatten(),))
TABLE = Transform(lambda rows: rows.unsqueeze(0), lambda table, heads: (table.squeeze(0),))
TURNED = Transform(lambda matrix: matrix.t(), lambda weight, heads: (weight.t(),))

TIMM = Layout(
    "timm CLIP",
    (
        *timm.AROUND,
        *timm.block(),
        linear("embed.parts.norm.layer", "norm_pre"),
        *timm.CLASS,
    ),
)


def openai_blocks(ours: str, theirs: str) -> tuple[Rule, ...]:
    """Rules for blocks with OpenAI's names, which open_clip uses too."""
    return named_block(
        theirs,
        norms=("ln_1", "ln_2"),
        qkv=("attn.in_proj_{p}",),
        project="attn.out_proj",
        mlp=("mlp.c_fc", "mlp.c_proj"),
        ours=ours,
    )


def openai_text(theirs: str) -> tuple[Rule, ...]:
    """Rules for a text encoder with OpenAI's names, without its projection."""
    return (
        Rule("text.embed.words.weight", (f"{theirs}token_embedding.weight",)),
        Rule("text.embed.positions", (f"{theirs}positional_embedding",), TABLE),
        *openai_blocks("text.encoder.blocks.{i}", f"{theirs}transformer.resblocks.{{i}}"),
        linear("text.encoder.norm", f"{theirs}ln_final"),
    )


OPENAI = Layout(
    "OpenAI's CLIP and open_clip",
    (
        Rule("image.embed.patches.project.weight", ("visual.conv1.weight",)),
        Rule("image.embed.parts.prefix.weight", ("visual.class_embedding",), VECTOR),
        Rule("image.embed.parts.positions.weight", ("visual.positional_embedding",), TABLE),
        linear("image.embed.parts.norm.layer", "visual.ln_pre"),
        *openai_blocks("image.encoder.blocks.{i}", "visual.transformer.resblocks.{i}"),
        linear("image.encoder.norm", "visual.ln_post"),
        Rule("image.head.classify.weight", ("visual.proj",), TURNED),
        *openai_text(""),
        Rule("text.project.weight", ("text_projection",), TURNED),
        Rule("compare.log_scale", ("logit_scale",)),
    ),
    _COUNTS,
    ("module.",),
    preprocess=_OPENAI_IMAGES,
    ambiguous={"activation": '"quick_gelu" (OpenAI\'s models) or "gelu" (most of open_clip\'s)'},
    proof=frozenset(_COUNTS),
)


def transformers_blocks(ours: str, theirs: str) -> tuple[Rule, ...]:
    """Rules for blocks with transformers' names, in CLIP and SigLIP."""
    return named_block(
        theirs,
        norms=("layer_norm1", "layer_norm2"),
        qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        project="self_attn.out_proj",
        mlp=("mlp.fc1", "mlp.fc2"),
        ours=ours,
    )


def _patches_and_blocks(ours: str, theirs: str) -> tuple[Rule, ...]:
    return (
        linear(f"{ours}embed.patches.project", f"{theirs}embeddings.patch_embedding"),
        Rule(f"{ours}embed.parts.positions.weight", (f"{theirs}embeddings.position_embedding.weight",), TABLE),
        *transformers_blocks(f"{ours}encoder.blocks.{{i}}", f"{theirs}encoder.layers.{{i}}"),
    )


def transformers_image(ours: str, theirs: str) -> tuple[Rule, ...]:
    """Rules for an image encoder with transformers' names, shared by CLIP and SigLIP."""
    return (*_patches_and_blocks(ours, theirs), linear(f"{ours}encoder.norm", f"{theirs}post_layernorm"))


def transformers_text() -> tuple[Rule, ...]:
    """Rules for a text encoder with transformers' names, without its projection."""
    return (
        Rule("text.embed.words.weight", ("text_model.embeddings.token_embedding.weight",)),
        Rule("text.embed.positions", ("text_model.embeddings.position_embedding.weight",), TABLE),
        *transformers_blocks("text.encoder.blocks.{i}", "text_model.encoder.layers.{i}"),
        linear("text.encoder.norm", "text_model.final_layer_norm"),
    )


def _encoder(ours: str, theirs: str) -> tuple[Rule, ...]:
    return (
        *_patches_and_blocks(ours, theirs),
        Rule(f"{ours}embed.parts.prefix.weight", (f"{theirs}embeddings.class_embedding",), VECTOR),
        linear(f"{ours}embed.parts.norm.layer", f"{theirs}pre_layrnorm"),
    )


def _image(ours: str, theirs: str) -> tuple[Rule, ...]:
    return (
        *_encoder(ours, theirs),
        linear(f"{ours}encoder.norm", f"{theirs}post_layernorm"),
        Rule(f"{ours}head.classify.weight", ("visual_projection.weight",)),
    )


_TRANSFORMERS = Layout(
    "transformers CLIP",
    (
        *_image("image.", "vision_model."),
        *transformers_text(),
        Rule("text.project.weight", ("text_projection.weight",)),
        Rule("compare.log_scale", ("logit_scale",)),
    ),
    _NUMBERS,
    fields=_PLAIN,
    preprocess=_OPENAI_IMAGES,
)
_TRANSFORMERS_IMAGE = Layout(
    "transformers CLIP (image encoder)", _image("", ""), _NUMBERS, ("vision_model.",), _PLAIN, _OPENAI_IMAGES
)
_TRANSFORMERS_CLASSES = Layout(
    "transformers CLIP (image classification)",
    (*_encoder("", ""), linear("head.classify", "classifier")),
    (*_NUMBERS, "post_layernorm.{p}"),  # its input is the class token, which classification leaves out
    ("vision_model.",),
    _PLAIN,
    _OPENAI_IMAGES,
)
# The image encoder alone is first: all layouts have all of its names.
LAYOUTS = (TIMM, OPENAI, _TRANSFORMERS_IMAGE, _TRANSFORMERS, _TRANSFORMERS_CLASSES)

_ACTIVATIONS = {"gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh", "quick_gelu": "quick_gelu"}


def image_fields(card: Mapping[str, Any], activation: str, norm_eps: float, patch_size: int) -> dict[str, Any]:
    """Config fields from transformers' configuration of an image encoder; missing ones have its defaults."""
    width = card.get("hidden_size", 768)
    return {
        "image_size": card.get("image_size", 224),
        "patch_size": card.get("patch_size", patch_size),
        "in_channels": card.get("num_channels", 3),
        "embed_dim": width,
        "depth": card.get("num_hidden_layers", 12),
        "num_heads": card.get("num_attention_heads", 12),
        "mlp_ratio": card.get("intermediate_size", 3072) / width,
        "norm_eps": card.get("layer_norm_eps", norm_eps),
        "activation": activation_field(card.get("hidden_act", activation)),
    }


def text_fields(card: Mapping[str, Any], defaults: Mapping[str, int]) -> dict[str, Any]:
    """Config fields of a text encoder. `defaults` are those of transformers' class, with transformers' names."""
    card = {**defaults, **card}
    return {
        "context_length": card["max_position_embeddings"],
        "vocab_size": card["vocab_size"],
        "text_dim": card["hidden_size"],
        "text_depth": card["num_hidden_layers"],
        "text_heads": card["num_attention_heads"],
        "text_mlp_ratio": card["intermediate_size"] / card["hidden_size"],
    }


def activation_field(name: str) -> str:
    """Our name for an activation of transformers."""
    if name not in _ACTIVATIONS:
        raise VitrailError(f"these weights use the activation {name!r}: supported are {', '.join(_ACTIVATIONS)}")
    return _ACTIVATIONS[name]


def both(card: Mapping[str, Any], activation: str, norm_eps: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the image and text parts of a configuration; old files store some of their fields elsewhere.

    Raises:
        VitrailError: the encoders differ in activation or norm epsilon; our models have one for both.
    """
    image, text = (
        {**(card.get(name) or {}), **(card.get(f"{name}_dict") or {})} for name in ("vision_config", "text_config")
    )
    for name, usual in (("hidden_act", activation), ("layer_norm_eps", norm_eps)):
        seen = image.get(name, usual), text.get(name, usual)
        if seen[0] != seen[1]:
            raise VitrailError(
                f"these weights have {name} {seen[0]!r} for images and {seen[1]!r} for texts: "
                "only equal values are supported"
            )
    return image, text


_DEFAULTS = ("quick_gelu", 1e-5)
"""Fields for the activation and the norm epsilon of both encoders."""
_TEXT_DEFAULTS = {
    "max_position_embeddings": 77,
    "vocab_size": 49408,
    "hidden_size": 512,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "intermediate_size": 2048,
}


def _config(card: Mapping[str, Any]) -> CLIPConfig | CLIPVisionConfig:
    if "CLIPForImageClassification" in (card.get("architectures") or ()):
        return CLIPVisionConfig(**image_fields(dict(card["vision_config"]), *_DEFAULTS, 32), pool="mean")
    image, text = both(card, *_DEFAULTS)
    # Before 2023 all files had 2, and for that value transformers uses the highest number as the end token.
    end, highest = text.get("eos_token_id", 49407), text.get("vocab_size", 49408) - 1
    if end not in (2, highest):
        raise VitrailError(f"these weights end a text with token {end}: only the last token, {highest}, is supported")
    return CLIPConfig(
        **image_fields(image, *_DEFAULTS, 32),
        **text_fields(text, _TEXT_DEFAULTS),
        joint_dim=card.get("projection_dim", 512),
    )


def _image_config(card: Mapping[str, Any]) -> CLIPVisionConfig:
    fields = image_fields(card, *_DEFAULTS, 32)
    return CLIPVisionConfig(**fields, num_classes=card.get("projection_dim", 512), head_bias=False)


CONFIGS = {"clip": _config, "clip_vision_model": _image_config}
