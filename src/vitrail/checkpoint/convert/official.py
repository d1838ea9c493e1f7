"""The names and axes of the official ViT releases (google-research/vision_transformer, .npz).

Flax keeps a linear kernel as (in, out), a convolution as (H, W, in, out), and attention apart by heads.
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
_ATTENTION = f"{_BLOCK}/MultiHeadDotProductAttention_1"
_PARTS = ("query", "key", "value")


def norm(ours: str, theirs: str) -> tuple[Rule, Rule]:
    return Rule(f"{ours}.weight", (f"{theirs}/scale",)), Rule(f"{ours}.bias", (f"{theirs}/bias",))


def linear(ours: str, theirs: str, transform: Transform = KERNEL) -> tuple[Rule, Rule]:
    return Rule(f"{ours}.weight", (f"{theirs}/kernel",), transform), Rule(f"{ours}.bias", (f"{theirs}/bias",))


WITHOUT_PATCHES = (
    Rule("embed.parts.prefix.weight", ("cls",)),
    Rule("embed.parts.positions.weight", ("Transformer/posembed_input/pos_embedding",)),
    *norm("encoder.blocks.{i}.attention.norm", f"{_BLOCK}/LayerNorm_0"),
    Rule(
        "encoder.blocks.{i}.attention.branch.qkv.weight",
        tuple(f"{_ATTENTION}/{part}/kernel" for part in _PARTS),
        _QKV_KERNELS,
    ),
    Rule(
        "encoder.blocks.{i}.attention.branch.qkv.bias",
        tuple(f"{_ATTENTION}/{part}/bias" for part in _PARTS),
        _QKV_BIASES,
    ),
    *linear("encoder.blocks.{i}.attention.branch.project", f"{_ATTENTION}/out", _OUT_KERNEL),
    *norm("encoder.blocks.{i}.mlp.norm", f"{_BLOCK}/LayerNorm_2"),
    *linear("encoder.blocks.{i}.mlp.branch.expand", f"{_BLOCK}/MlpBlock_3/Dense_0"),
    *linear("encoder.blocks.{i}.mlp.branch.contract", f"{_BLOCK}/MlpBlock_3/Dense_1"),
    *norm("encoder.norm", "Transformer/encoder_norm"),
    *linear("head.classify", "head"),
)
PREPROCESS = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
LAYOUT = Layout(
    "official npz",
    (*linear("embed.patches.project", "embedding", PATCHES), *WITHOUT_PATCHES),
    preprocess=PREPROCESS,
)


def without_pre_logits(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The state without the pre-logits layer and the head behind it, and a sentence that says so.

    The ImageNet-21k releases have a tanh layer in front of the head, which fine-tuning drops together with
    the head (Dosovitskiy et al., 2021, section 3.2).
    """
    if not any(name.startswith("pre_logits/") for name in state):
        return state, []
    kept = {name: tensor for name, tensor in state.items() if not name.startswith(("pre_logits/", "head/"))}
    return kept, ["pre_logits and head were left out, as for fine-tuning: pass num_classes for a fresh head"]
