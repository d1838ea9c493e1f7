"""Layouts of DETR."""

from collections.abc import Mapping
from typing import Any

from ...errors import VitrailError
from ...models.detr import RESNET101, DETRConfig
from .expect import expect
from .rename import STACK, Layout, Rule, linear
from .resnet import UNITS, transformers_resnet

_BODY = "embed.patches.body"
_ENCODER, _DECODER = "encoder.blocks.{i}", "head.decoder.blocks.{i}"
_THEIR_ENCODER, _THEIR_DECODER = "encoder.layers.{i}", "decoder.layers.{i}"
_QKV = ("q_proj", "k_proj", "v_proj")
_APART = tuple(f"{part}.{{p}}" for part in _QKV)
_JOINT = ("in_proj_{p}",)


def _attention(ours: str, theirs: str, projections: tuple[str, ...], project: str, norm: str) -> tuple[Rule, ...]:
    """Rules for an attention of the decoder, whose three projections are separate in our model."""
    inside = f"{ours}.branch.attention"
    qkv = tuple(f"{inside}.{part}.{{p}}" for part in "qkv")
    names = tuple(f"{theirs}.{name}" for name in projections)
    rules = (Rule(qkv, names),) if len(names) == 1 else (Rule(*pair) for pair in zip(qkv, zip(names), strict=True))
    return (*rules, linear(f"{inside}.project", f"{theirs}.{project}"), linear(f"{ours}.after", norm))


def _mlp(ours: str, expand: str, contract: str, norm: str) -> tuple[Rule, ...]:
    return (
        linear(f"{ours}.mlp.branch.expand", expand),
        linear(f"{ours}.mlp.branch.contract", contract),
        linear(f"{ours}.mlp.after", norm),
    )


def _boxes(theirs: str) -> tuple[Rule, ...]:
    return tuple(linear(f"head.box.{2 * index}", f"{theirs}.{index}") for index in range(3))


def _body(theirs: str) -> tuple[Rule, ...]:
    """Rules for the ResNet with the names of timm and torchvision."""
    parts = ("conv1", "bn1", *(f"layer{{s}}.{{i}}.{part}" for unit in UNITS for part in unit))
    return tuple(Rule(f"{_BODY}.{part}.{{f}}", (f"{theirs}.{part}.{{f}}",)) for part in parts)


def _transformers_body(theirs: str) -> tuple[Rule, ...]:
    stages = tuple(f"{_BODY}.layer{number}" for number in (1, 2, 3, 4))
    return transformers_resnet(_BODY, stages, f"{theirs}.", "f")


def _transformers(project: str, expand: str, contract: str) -> tuple[Rule, ...]:
    encoder, decoder = _THEIR_ENCODER, _THEIR_DECODER
    joint = tuple(f"{encoder}.self_attn.{part}" for part in _QKV)
    return (
        linear("embed.patches.project", "input_projection"),
        linear(f"{_ENCODER}.attention.branch.qkv", *joint, transform=STACK),
        linear(f"{_ENCODER}.attention.branch.project", f"{encoder}.self_attn.{project}"),
        linear(f"{_ENCODER}.attention.after", f"{encoder}.self_attn_layer_norm"),
        *_mlp(_ENCODER, f"{encoder}.{expand}", f"{encoder}.{contract}", f"{encoder}.final_layer_norm"),
        *_attention(
            f"{_DECODER}.attention", f"{decoder}.self_attn", _APART, project, f"{decoder}.self_attn_layer_norm"
        ),
        *_attention(
            f"{_DECODER}.cross", f"{decoder}.encoder_attn", _APART, project, f"{decoder}.encoder_attn_layer_norm"
        ),
        *_mlp(_DECODER, f"{decoder}.{expand}", f"{decoder}.{contract}", f"{decoder}.final_layer_norm"),
        Rule("head.decoder.places", ("query_position_embeddings.weight",)),
        linear("head.decoder.norm", "decoder.layernorm"),
        linear("head.classify", "class_labels_classifier"),
        *_boxes("bbox_predictor.layers"),
    )


def _official() -> tuple[Rule, ...]:
    """Rules for facebookresearch/detr, whose blocks have the names of torch.nn.Transformer."""
    encoder, decoder = f"transformer.{_THEIR_ENCODER}", f"transformer.{_THEIR_DECODER}"
    return (
        linear("embed.patches.project", "input_proj"),
        Rule(f"{_ENCODER}.attention.branch.qkv.{{p}}", (f"{encoder}.self_attn.in_proj_{{p}}",)),
        linear(f"{_ENCODER}.attention.branch.project", f"{encoder}.self_attn.out_proj"),
        linear(f"{_ENCODER}.attention.after", f"{encoder}.norm1"),
        *_mlp(_ENCODER, f"{encoder}.linear1", f"{encoder}.linear2", f"{encoder}.norm2"),
        *_attention(f"{_DECODER}.attention", f"{decoder}.self_attn", _JOINT, "out_proj", f"{decoder}.norm1"),
        *_attention(f"{_DECODER}.cross", f"{decoder}.multihead_attn", _JOINT, "out_proj", f"{decoder}.norm2"),
        *_mlp(_DECODER, f"{decoder}.linear1", f"{decoder}.linear2", f"{decoder}.norm3"),
        Rule("head.decoder.places", ("query_embed.weight",)),
        linear("head.decoder.norm", "transformer.decoder.norm"),
        linear("head.classify", "class_embed"),
        *_boxes("bbox_embed.layers"),
        *_body("backbone.0.body"),
    )


# Counters of batch norms, and the panoptic models' parts besides the detector.
_UNUSED = ("{x}.num_batches_tracked", "mask_head.{x}", "bbox_attention.{x}")
_PREFIXES = ("detr.model.", "detr.", "model.")

LAYOUTS = (
    *(
        Layout(f"transformers DETR ({kind}, {body})", (*blocks, *rules(backbone)), _UNUSED, _PREFIXES)
        for kind, blocks, backbone in (
            ("files", _transformers("out_proj", "fc1", "fc2"), "backbone.conv_encoder.model"),
            ("modules", _transformers("o_proj", "mlp.fc1", "mlp.fc2"), "backbone.model"),
        )
        for body, rules in (("timm's ResNet", _body), ("its own ResNet", _transformers_body))
    ),
    Layout("official DETR", _official(), _UNUSED, _PREFIXES),
)

_RESNETS = {"resnet26": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3), "resnet101": RESNET101, "resnet152": (3, 8, 36, 3)}


def _config(card: Mapping[str, Any]) -> DETRConfig:
    body = card.get("backbone_config") or {}
    name = body.get("backbone", card.get("backbone"))
    depths = body["depths"] if "depths" in body else _RESNETS.get(name or "")
    expect(card, position_embedding_type="sine", activation_function="relu", dilation=False)
    expect(card, decoder_attention_heads=card["encoder_attention_heads"])
    expect(body, layer_type="bottleneck", hidden_act="relu")
    expect(body, downsample_in_first_stage=False, downsample_in_bottleneck=False)
    if depths is None:
        raise VitrailError(f"this DETR's backbone is {name!r}: supported are {', '.join(_RESNETS)}")
    return DETRConfig(
        depths=tuple(depths),
        dilated=bool(card.get("dilation")) or body.get("output_stride") == 16,
        embed_dim=card["d_model"],
        depth=card["encoder_layers"],
        decoder_depth=card["decoder_layers"],
        num_heads=card["encoder_attention_heads"],
        mlp_ratio=card["encoder_ffn_dim"] / card["d_model"],
        num_queries=card["num_queries"],
    )


CONFIGS = {"detr": _config}
