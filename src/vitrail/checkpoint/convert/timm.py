"""timm's names, which are also those of the official DeiT and DeiT III releases."""

from .rename import TOKENS, Layout, Rule, linear

_SHARED = (
    linear("embed.patches.project", "patch_embed.proj"),
    Rule("embed.parts.positions.weight", ("pos_embed",)),
    linear("encoder.blocks.{i}.attention.norm", "blocks.{i}.norm1"),
    linear("encoder.blocks.{i}.attention.branch.qkv", "blocks.{i}.attn.qkv"),
    linear("encoder.blocks.{i}.attention.branch.project", "blocks.{i}.attn.proj"),
    linear("encoder.blocks.{i}.mlp.norm", "blocks.{i}.norm2"),
    linear("encoder.blocks.{i}.mlp.branch.expand", "blocks.{i}.mlp.fc1"),
    linear("encoder.blocks.{i}.mlp.branch.contract", "blocks.{i}.mlp.fc2"),
    linear("encoder.norm", "norm"),
    linear("head.classify", "head"),
)


def _scales(attention: str, mlp: str) -> tuple[Rule, ...]:
    return tuple(
        Rule(f"encoder.blocks.{{i}}.{ours}.scale.weight", (f"blocks.{{i}}.{theirs}",))
        for ours, theirs in (("attention", attention), ("mlp", mlp))
    )


_CLASS = (Rule("embed.parts.prefix.weight", ("cls_token",)),)
_DISTILLED = (
    Rule("embed.parts.prefix.weight", ("cls_token", "dist_token"), TOKENS),
    linear("head.distill", "head_dist"),
)

TIMM = Layout("timm", (*_SHARED, *_scales("ls1.gamma", "ls2.gamma"), *_CLASS), prefixes=("module.",))
DISTILLED = Layout("timm, distilled", (*_SHARED, *_DISTILLED), prefixes=("module.",))
DEIT3 = Layout("official DeiT III", (*_SHARED, *_scales("gamma_1", "gamma_2"), *_CLASS), prefixes=("module.",))
LAYOUTS = (TIMM, DISTILLED, DEIT3)
