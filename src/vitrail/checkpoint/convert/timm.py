"""Layouts of timm's ViTs, also used by the official releases of DeiT and DeiT III."""

from .block import named_block
from .rename import TOKENS, Layout, Rule, linear


def block(
    ours: str = "encoder.blocks.{i}",
    theirs: str = "blocks.{i}",
    attention: str = "branch",
    mlp: tuple[str, str] = ("mlp.fc1", "mlp.fc2"),
) -> tuple[Rule, ...]:
    """Rules for the usual block; `attention` is the path of the `MultiHeadAttention` in its residual."""
    return named_block(
        theirs, norms=NORMS, qkv=("attn.qkv",), project="attn.proj", mlp=mlp, ours=ours, attention=attention
    )


NORMS = ("norm1", "norm2")
WITHOUT_PATCHES = (
    Rule("embed.parts.positions.weight", ("pos_embed",)),
    linear("encoder.norm", "norm"),
    linear("head.norm", "fc_norm"),
    linear("head.classify", "head"),
)
"""Rules for the patches."""
AROUND = (linear("embed.patches.project", "patch_embed.proj"), *WITHOUT_PATCHES)
"""Rules for the parts around the blocks."""
_SHARED = (*AROUND, *block())


def scales(attention: str, mlp: str) -> tuple[Rule, ...]:
    return tuple(
        Rule(f"encoder.blocks.{{i}}.{ours}.scale.weight", (f"blocks.{{i}}.{theirs}",))
        for ours, theirs in (("attention", attention), ("mlp", mlp))
    )


CLASS = (Rule("embed.parts.prefix.weight", ("cls_token",)),)
_DISTILLED = (
    Rule("embed.parts.prefix.weight", ("cls_token", "dist_token"), TOKENS),
    linear("head.distill", "head_dist"),
)

TIMM = Layout("timm", (*_SHARED, *scales("ls1.gamma", "ls2.gamma"), *CLASS), prefixes=("module.",))
DISTILLED = Layout("timm, distilled", (*_SHARED, *_DISTILLED), prefixes=("module.",))
DEIT3 = Layout(
    "official DeiT III",
    (*_SHARED, *scales("gamma_1", "gamma_2"), *CLASS),
    prefixes=("module.",),
    doubt="taken as DeiT III; pass architecture for a ViT with rotary positions, such as vit_base_patch16_rope_ape_224",
)
LAYOUTS = (TIMM, DISTILLED, DEIT3)
