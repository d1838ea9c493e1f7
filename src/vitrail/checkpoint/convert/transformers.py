"""transformers' names: those of the files on the hub, and those of its modules since version 5."""

from .rename import STACK, TOKENS, Layout, Rule, linear

_SHARED = (
    linear("embed.patches.project", "embeddings.patch_embeddings.projection"),
    Rule("embed.parts.positions.weight", ("embeddings.position_embeddings",)),
    linear("encoder.norm", "layernorm"),
)
_FILES = (
    linear("encoder.blocks.{i}.attention.norm", "encoder.layer.{i}.layernorm_before"),
    linear(
        "encoder.blocks.{i}.attention.branch.qkv",
        *(f"encoder.layer.{{i}}.attention.attention.{part}" for part in ("query", "key", "value")),
        transform=STACK,
    ),
    linear("encoder.blocks.{i}.attention.branch.project", "encoder.layer.{i}.attention.output.dense"),
    linear("encoder.blocks.{i}.mlp.norm", "encoder.layer.{i}.layernorm_after"),
    linear("encoder.blocks.{i}.mlp.branch.expand", "encoder.layer.{i}.intermediate.dense"),
    linear("encoder.blocks.{i}.mlp.branch.contract", "encoder.layer.{i}.output.dense"),
)
_MODULES = (
    linear("encoder.blocks.{i}.attention.norm", "layers.{i}.layernorm_before"),
    linear(
        "encoder.blocks.{i}.attention.branch.qkv",
        *(f"layers.{{i}}.attention.{part}" for part in ("q_proj", "k_proj", "v_proj")),
        transform=STACK,
    ),
    linear("encoder.blocks.{i}.attention.branch.project", "layers.{i}.attention.o_proj"),
    linear("encoder.blocks.{i}.mlp.norm", "layers.{i}.layernorm_after"),
    linear("encoder.blocks.{i}.mlp.branch.expand", "layers.{i}.mlp.fc1"),
    linear("encoder.blocks.{i}.mlp.branch.contract", "layers.{i}.mlp.fc2"),
)
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
_UNUSED = ("pooler.dense.{p}", "embeddings.mask_token")
_PREFIXES = ("vit.", "deit.")
_FIELDS = {"norm_eps": 1e-12, "position_antialias": False}
_PREPROCESS = {"crop": 1.0, "interpolation": "bilinear", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

LAYOUTS = tuple(
    Layout(f"transformers {model} ({kind})", (*_SHARED, *blocks, *ends), _UNUSED, _PREFIXES, _FIELDS, _PREPROCESS)
    for kind, blocks in (("files", _FILES), ("modules", _MODULES))
    for model, ends in (("ViT", _VIT), ("DeiT", _TEACHER))
)
