"""Layouts of DPT."""

from collections.abc import Mapping
from typing import Any

from ...models.dpt import DPTConfig
from . import timm, transformers
from .expect import expect, vit_fields
from .rename import Layout, Rule, batch_norm, linear

_DECODE = "head.decode"


def _embedding(patches: str, class_token: str, positions: str) -> tuple[Rule, ...]:
    return (
        linear("embed.patches.project", patches),
        Rule("embed.parts.prefix.weight", (class_token,)),
        Rule("embed.parts.positions.weight", (positions,)),
    )


def _level(index: int, read: str, project: str, resize: str, out: str) -> tuple[Rule, ...]:
    ours = f"{_DECODE}.reassemble.{index}"
    names = {"read.project": read, "project": project, "resize": resize, "out": out}
    return tuple(linear(f"{ours}.{part}", name) for part, name in names.items())


def _refinement(ours: str, theirs: str, conv: str, norm: str) -> tuple[Rule, ...]:
    places = ((conv, 1, 1), (norm, 1, 2), (conv, 2, 4), (norm, 2, 5))
    return tuple(batch_norm(f"{ours}.unit.{place}", f"{theirs}.{name}{n}") for name, n, place in places)


def _fusion(theirs: tuple[str, ...], first: str, second: str, project: str, conv: str, norm: str) -> tuple[Rule, ...]:
    """Rules for the four fusion steps, coarsest first. Half of the layers of their first step are unused."""
    steps = (f"{_DECODE}.start", *(f"{_DECODE}.fuse.{index}.refine" for index in range(3)))
    rules: list[Rule] = []
    for ours, step in zip(steps, theirs, strict=True):
        rules += (*_refinement(f"{ours}.0", f"{step}.{second}", conv, norm), linear(f"{ours}.2", f"{step}.{project}"))
    for index, step in enumerate(theirs[1:]):
        rules += _refinement(f"{_DECODE}.fuse.{index}.admit", f"{step}.{first}", conv, norm)
    return tuple(rules)


def _depth(theirs: str) -> tuple[Rule, ...]:
    return tuple(linear(f"head.predict.{index}", f"{theirs}.{index}") for index in (0, 2, 4))


def _segmentation(theirs: str) -> tuple[Rule, ...]:
    convolution = linear("head.smooth.0", f"{theirs}.0")
    return (convolution, batch_norm("head.smooth.1", f"{theirs}.1"), linear("head.classify", f"{theirs}.4"))


def _transformers() -> tuple[Rule, ...]:
    neck = "neck.reassemble_stage"
    rules = [
        *_embedding(
            "dpt.embeddings.patch_embeddings.projection",
            "dpt.embeddings.cls_token",
            "dpt.embeddings.position_embeddings",
        ),
        *transformers.block("dpt.encoder.layer.{i}", **transformers.FILES),
    ]
    for index in range(4):
        layer = f"{neck}.layers.{index}"
        read = f"{neck}.readout_projects.{index}.0"
        rules += _level(index, read, f"{layer}.projection", f"{layer}.resize", f"neck.convs.{index}")
    steps = tuple(f"neck.fusion_stage.layers.{index}" for index in range(4))
    fusion = _fusion(steps, "residual_layer1", "residual_layer2", "projection", "convolution", "batch_norm")
    return (*rules, *fusion)


def _official() -> tuple[Rule, ...]:
    """Rules for isl-org/DPT: a ViT with timm's names, and RefineNet's names."""
    model = "pretrained.model"
    rules = [
        *_embedding(f"{model}.patch_embed.proj", f"{model}.cls_token", f"{model}.pos_embed"),
        *timm.block(theirs=f"{model}.blocks.{{i}}"),
    ]
    for index in range(4):
        post = f"pretrained.act_postprocess{index + 1}"
        rules += _level(index, f"{post}.0.project.0", f"{post}.3", f"{post}.4", f"scratch.layer{index + 1}_rn")
    steps = tuple(f"scratch.refinenet{index}" for index in (4, 3, 2, 1))
    return (*rules, *_fusion(steps, "resConfUnit1", "resConfUnit2", "out_conv", "conv", "bn"))


# Norm and classifier after the blocks, half of the first fusion step, and a head that is used in training only.
_UNUSED_THERE = (
    "dpt.layernorm.{p}",
    "dpt.pooler.{x}",
    "neck.fusion_stage.layers.0.residual_layer1.{x}",
    "auxiliary_head.{x}",
)
_UNUSED_OFFICIAL = (
    "pretrained.model.norm.{p}",
    "pretrained.model.head.{p}",
    "scratch.refinenet4.resConfUnit1.{x}",
    "auxlayer.{x}",
)
_PREPROCESS = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

LAYOUTS = tuple(
    Layout(f"{source} DPT, {task}", (*rules, *head), unused, preprocess=_PREPROCESS)
    for source, rules, unused, heads in (
        ("transformers", _transformers(), _UNUSED_THERE, "head.head"),
        ("official", _official(), _UNUSED_OFFICIAL, "scratch.output_conv"),
    )
    for task, head in (("depth", _depth(heads)), ("segmentation", _segmentation(heads)))
)


def _config(card: Mapping[str, Any]) -> DPTConfig:
    expect(card, is_hybrid=False, backbone_config=None, readout_type="project", reassemble_factors=[4, 2, 1, 0.5])
    expect(card, hidden_act="gelu", qkv_bias=True, add_projection=False, head_in_index=-1)
    return DPTConfig(
        **vit_fields(card),
        after=tuple(card["backbone_out_indices"]),
        widths=tuple(card["neck_hidden_sizes"]),
        fusion_dim=card["fusion_hidden_size"],
        fusion_norm=bool(card.get("use_batch_norm_in_fusion_residual")),
    )


CONFIGS = {"dpt": _config}
