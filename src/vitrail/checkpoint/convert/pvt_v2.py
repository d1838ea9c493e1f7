"""Layouts of PVT v2, also used by the official release of MiT, SegFormer's encoder."""

from collections.abc import Mapping
from typing import Any

from ...models.pvt_v2 import PVTv2Config
from .block import named_block
from .expect import expect
from .rename import PAIR, Layout, Rule, linear

STAGE = "encoder.blocks.{s}"
BLOCK = f"{STAGE}.blocks.{{i}}"


def patches(ours: str, theirs: str, project: str = "proj", norm: str = "norm") -> tuple[Rule, ...]:
    """Rules for an `OverlappingPatchEmbed`."""
    return linear(f"{ours}.project", f"{theirs}.{project}"), linear(f"{ours}.norm", f"{theirs}.{norm}")


def block(
    ours: str,
    theirs: str,
    *,
    norms: tuple[str, str] = ("norm1", "norm2"),
    q: str = "attn.q",
    kv: tuple[str, ...] = ("attn.kv",),
    reduction: tuple[str, str] = ("attn.sr", "attn.norm"),
    project: str = "attn.proj",
    mlp: tuple[str, ...] = ("mlp.fc1", "mlp.dwconv.dwconv", "mlp.fc2"),
) -> tuple[Rule, ...]:
    """Rules for a block with reduced keys and values; `mlp` has the names of its two or three layers."""
    qkv = f"{ours}.attention.branch.qkv"
    expand, *depthwise, contract = mlp
    both = (f"{theirs}.{name}" for name in kv)
    return (
        linear(f"{qkv}.q", f"{theirs}.{q}"),
        linear(f"{qkv}.kv", *both, transform=PAIR if len(kv) == 2 else None),
        linear(f"{qkv}.reduce.project", f"{theirs}.{reduction[0]}"),
        linear(f"{qkv}.reduce.norm", f"{theirs}.{reduction[1]}"),
        *named_block(theirs, norms=norms, project=project, mlp=(expand, contract), ours=ours),
        *(linear(f"{ours}.mlp.branch.depthwise", f"{theirs}.{name}") for name in depthwise),
    )


def transformers_block(
    theirs: str, inner: str, reduction: str, project: str, *, ours: str = BLOCK, depthwise: bool = True
) -> tuple[Rule, ...]:
    """Rules for a block with transformers' names in PVT, PVT v2 and SegFormer; `inner` is the path of its attention."""
    return block(
        ours,
        theirs,
        norms=("layer_norm_1", "layer_norm_2"),
        q=f"{inner}.query",
        kv=(f"{inner}.key", f"{inner}.value"),
        reduction=(f"{inner}.{reduction}", f"{inner}.layer_norm"),
        project=project,
        mlp=("mlp.dense1", *(("mlp.dwconv.dwconv",) if depthwise else ()), "mlp.dense2"),
    )


def _official() -> tuple[Rule, ...]:
    rules: list[Rule] = []
    for stage in range(4):
        ours = f"encoder.blocks.{stage}"
        rules += patches(f"{ours}.reduce.embed" if stage else "embed", f"patch_embed{stage + 1}")
        rules += block(f"{ours}.blocks.{{i}}", f"block{stage + 1}.{{i}}")
        rules.append(linear(f"{ours}.norm", f"norm{stage + 1}"))
    return tuple(rules)


OFFICIAL = _official()
_TIMM = (
    *patches("embed", "patch_embed"),
    *patches(f"{STAGE}.reduce.embed", "stages.{s}.downsample"),
    *block(BLOCK, "stages.{s}.blocks.{i}", mlp=("mlp.fc1", "mlp.dwconv", "mlp.fc2")),
    linear(f"{STAGE}.norm", "stages.{s}.norm"),
)


def first_patches(theirs: str, project: str, norm: str) -> tuple[Rule, ...]:
    """Rules for the first patches in sources that count them as stage 0."""
    first = patches("embed", theirs.format(s=0), project, norm)
    return first + patches(f"{STAGE}.reduce.embed", theirs, project, norm)


_TRANSFORMERS = (
    *first_patches("encoder.layers.{s}.patch_embedding", "proj", "layer_norm"),
    *transformers_block("encoder.layers.{s}.blocks.{i}", "attention", "spatial_reduction", "attention.proj"),
    linear(f"{STAGE}.norm", "encoder.layers.{s}.layer_norm"),
)

_HEAD = linear("head.classify", "head")
LAYOUTS = (
    Layout("timm PVT v2", (*_TIMM, _HEAD), prefixes=("module.",)),
    Layout("official PVT v2", (*OFFICIAL, _HEAD), prefixes=("module.", "backbone.")),
    Layout(
        "transformers PVT v2",
        (*_TRANSFORMERS, linear("head.classify", "classifier")),
        prefixes=("pvt_v2.",),
        fields={"norm_eps": 1e-6, "conv_norm_eps": 1e-6},
    ),
)


PATCHES = {"patch_sizes": [7, 3, 3, 3], "strides": [4, 2, 2, 2]}
"""Overlapping patches, as in PVT v2 and SegFormer."""


def pyramid_fields(card: Mapping[str, Any], reductions: str) -> dict[str, Any]:
    """Config fields from transformers' configuration of the four stages."""
    expect(card, num_encoder_blocks=4, hidden_act="gelu", qkv_bias=True)
    return {
        "in_channels": card["num_channels"],
        "embed_dims": tuple(card["hidden_sizes"]),
        "depths": tuple(card["depths"]),
        "num_heads": tuple(card["num_attention_heads"]),
        "mlp_ratios": tuple(card["mlp_ratios"]),
        "reductions": tuple(card[reductions]),
    }


def _config(card: Mapping[str, Any]) -> PVTv2Config:
    size = card["image_size"]
    expect(card, **PATCHES)
    return PVTv2Config(
        image_size=size if isinstance(size, int) else tuple(size),
        **pyramid_fields(card, "sr_ratios"),
        pooled=card["linear_attention"],
        norm_eps=card["layer_norm_eps"],
        conv_norm_eps=card["layer_norm_eps"],
    )


CONFIGS = {"pvt_v2": _config}
