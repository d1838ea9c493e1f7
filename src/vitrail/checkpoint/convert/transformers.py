"""transformers' names: those of the files on the hub, and those of its modules since version 5."""

from .rename import STACK, TOKENS, Layout, Rule, linear

_SHARED = (
    linear("embed.patches.project", "embeddings.patch_embeddings.projection"),
    Rule("embed.parts.positions.weight", ("embeddings.position_embeddings",)),
    linear("encoder.norm", "layernorm"),
)


def _blocks(block: str, *, qkv: tuple[str, str, str], project: str, expand: str, contract: str) -> tuple[Rule, ...]:
    ours = "encoder.blocks.{i}"
    return (
        linear(f"{ours}.attention.norm", f"{block}.layernorm_before"),
        linear(f"{ours}.attention.branch.qkv", *(f"{block}.attention.{part}" for part in qkv), transform=STACK),
        linear(f"{ours}.attention.branch.project", f"{block}.{project}"),
        linear(f"{ours}.mlp.norm", f"{block}.layernorm_after"),
        linear(f"{ours}.mlp.branch.expand", f"{block}.{expand}"),
        linear(f"{ours}.mlp.branch.contract", f"{block}.{contract}"),
    )


_FILES = _blocks(
    "encoder.layer.{i}",
    qkv=("attention.query", "attention.key", "attention.value"),
    project="attention.output.dense",
    expand="intermediate.dense",
    contract="output.dense",
)
_MODULES = _blocks(
    "layers.{i}",
    qkv=("q_proj", "k_proj", "v_proj"),
    project="attention.o_proj",
    expand="mlp.fc1",
    contract="mlp.fc2",
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
