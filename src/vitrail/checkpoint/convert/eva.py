"""Layouts of EVA and EVA-02, which timm's and the official names share but for the layers of attention and MLP."""

from . import timm
from .rename import PAIR, SAME, STACK, Layout, Rule, linear

_BLOCK = "encoder.blocks.{i}"
_BRANCH = f"{_BLOCK}.attention.branch"
_ATTENTION, _MLP = "blocks.{i}.attn", "blocks.{i}.mlp"
_SHARED = (
    linear(f"{_BLOCK}.attention.norm", "blocks.{i}.norm1"),
    linear(f"{_BLOCK}.mlp.norm", "blocks.{i}.norm2"),
    linear(f"{_BRANCH}.project", f"{_ATTENTION}.proj"),
    *timm.scales("gamma_1", "gamma_2"),
    *timm.CLASS,
    *timm.AROUND,
)


def _qkv(weights: tuple[str, ...], q_bias: str, v_bias: str) -> tuple[Rule, ...]:
    names = tuple(f"{_ATTENTION}.{part}.weight" for part in weights)
    return (
        Rule(f"{_BRANCH}.qkv.weight", names, STACK if len(names) > 1 else SAME),
        Rule(f"{_BRANCH}.qkv.bias", (f"{_ATTENTION}.{q_bias}", f"{_ATTENTION}.{v_bias}"), PAIR),
    )


_JOINT = _qkv(("qkv",), "q_bias", "v_bias")
_APART = ("q_proj", "k_proj", "v_proj")


def _mlp(expand: tuple[str, ...], contract: str) -> tuple[Rule, ...]:
    transform = PAIR if len(expand) > 1 else SAME
    return (
        linear(f"{_BLOCK}.mlp.branch.expand", *(f"{_MLP}.{part}" for part in expand), transform=transform),
        linear(f"{_BLOCK}.mlp.branch.contract", f"{_MLP}.{contract}"),
    )


# The official files also have the rotary angles of each block, which are computed here.
_ANGLES = ("rope.{x}", "blocks.{i}.attn.rope.{x}")
_REGISTERS = Rule("embed.parts.registers.weight", ("reg_token",))

LAYOUTS = (
    Layout("timm EVA", (*_SHARED, *_JOINT, *_mlp(("fc1",), "fc2"), _REGISTERS)),
    Layout(
        "timm EVA-02",
        (
            *_SHARED,
            *_qkv(_APART, "q_proj.bias", "v_proj.bias"),
            *_mlp(("fc1_g", "fc1_x"), "fc2"),
            linear(f"{_BLOCK}.mlp.branch.norm", f"{_MLP}.norm"),
            linear(f"{_BRANCH}.project.norm", f"{_ATTENTION}.norm"),
        ),
    ),
    Layout(
        "official EVA-02",
        (
            *_SHARED,
            *_qkv(_APART, "q_bias", "v_bias"),
            *_mlp(("w1", "w2"), "w3"),
            linear(f"{_BLOCK}.mlp.branch.norm", f"{_MLP}.ffn_ln"),
            linear(f"{_BRANCH}.project.norm", f"{_ATTENTION}.inner_attn_ln"),
        ),
        _ANGLES,
        ("module.",),
    ),
    Layout(
        "official EVA-02, tiny and small",
        (*_SHARED, *_JOINT, *_mlp(("w12",), "w3")),
        _ANGLES,
        ("module.",),
    ),
)
