"""Layouts of the official ViT releases (google-research/vision_transformer, .npz).

Flax stores a linear kernel as (in, out), a convolution as (H, W, in, out), and attention with an axis for heads.
"""

import torch
from torch import Tensor

from .rename import Layout, Rule, Transform

KERNEL = Transform(lambda kernel: kernel.t(), lambda weight, heads: (weight.t(),))
PATCHES = Transform(lambda kernel: kernel.permute(3, 2, 0, 1), lambda weight, heads: (weight.permute(2, 3, 1, 0),))
_QKV_KERNELS = Transform(
    lambda *kernels: torch.cat([kernel.flatten(1).t() for kernel in kernels]),
    lambda weight, heads: tuple(part.t().unflatten(1, (heads, -1)) for part in weight.chunk(3)),
)
_QKV_BIASES = Transform(
    lambda *biases: torch.cat([bias.flatten() for bias in biases]),
    lambda bias, heads: tuple(part.unflatten(0, (heads, -1)) for part in bias.chunk(3)),
)
_OUT_KERNEL = Transform(
    lambda kernel: kernel.flatten(0, 1).t(), lambda weight, heads: (weight.t().unflatten(0, (heads, -1)),)
)

_BLOCK = "Transformer/encoderblock_{i}"
_PARTS = ("query", "key", "value")


def norm(ours: str, theirs: str) -> tuple[Rule, Rule]:
    return Rule(f"{ours}.weight", (f"{theirs}/scale",)), Rule(f"{ours}.bias", (f"{theirs}/bias",))


def linear(ours: str, theirs: str, transform: Transform = KERNEL) -> tuple[Rule, Rule]:
    return Rule(f"{ours}.weight", (f"{theirs}/kernel",), transform), Rule(f"{ours}.bias", (f"{theirs}/bias",))


def without_patches(positions: str, numbers: tuple[int, int, int]) -> tuple[Rule, ...]:
    """Rules for a ViT without its patches; `numbers` are flax's for attention, second norm and MLP of a block."""
    attention, second = f"{_BLOCK}/MultiHeadDotProductAttention_{numbers[0]}", f"{_BLOCK}/LayerNorm_{numbers[1]}"
    mlp, branch = f"{_BLOCK}/MlpBlock_{numbers[2]}", "encoder.blocks.{i}.attention.branch"
    kernels, biases = (tuple(f"{attention}/{part}/{kind}" for part in _PARTS) for kind in ("kernel", "bias"))
    return (
        Rule("embed.parts.prefix.weight", ("cls",)),
        Rule("embed.parts.positions.weight", (positions,)),
        *norm("encoder.blocks.{i}.attention.norm", f"{_BLOCK}/LayerNorm_0"),
        Rule(f"{branch}.qkv.weight", kernels, _QKV_KERNELS),
        Rule(f"{branch}.qkv.bias", biases, _QKV_BIASES),
        *linear(f"{branch}.project", f"{attention}/out", _OUT_KERNEL),
        *norm("encoder.blocks.{i}.mlp.norm", second),
        *linear("encoder.blocks.{i}.mlp.branch.expand", f"{mlp}/Dense_0"),
        *linear("encoder.blocks.{i}.mlp.branch.contract", f"{mlp}/Dense_1"),
        *norm("encoder.norm", "Transformer/encoder_norm"),
        *linear("head.classify", "head"),
    )


PATCH_RULES = linear("embed.patches.project", "embedding", PATCHES)
# The numbers count dropouts too.
WITHOUT_PATCHES = without_patches("Transformer/posembed_input/pos_embedding", (1, 2, 3))
PREPROCESS = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
OFFICIAL = Layout(
    "official npz",
    (*PATCH_RULES, *WITHOUT_PATCHES),
    preprocess=PREPROCESS,
)


def without_pre_logits(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Return the state without the pre-logits layer and the head after it, and a sentence about it.

    The ImageNet-21k releases have a tanh layer before the head, which is dropped with the head for fine-tuning
    (Dosovitskiy et al., 2021, section 3.2).
    """
    if not any(name.startswith("pre_logits/") for name in state):
        return state, []
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(("pre_logits/", "head/"))}
    return kept, ["pre_logits and head were left out, as for fine-tuning: pass num_classes for a fresh head"]


LAYOUTS = (OFFICIAL,)
