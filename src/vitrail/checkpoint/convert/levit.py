"""Layouts of LeViT."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...models.levit import LeViTConfig
from .expect import expect, uniform
from .rename import Layout, Rule, Transform, linear

# timm's levit_conv_* store linear layers as 1×1 convolutions.
_FLAT = Transform(lambda weight: weight.flatten(1), lambda weight, heads: (weight,))
_CONVOLUTIONS = 4
_COMPUTED = ("{x}.attention_bias_idxs",)


@dataclass(frozen=True, slots=True)
class _Names:
    """A source's names of the layers inside a block."""

    weight: str
    norm: str
    qkv: str
    queries: str
    keys_values: str
    project: str
    expand: str
    contract: str

    def unit(self, ours: str, theirs: str) -> tuple[Rule, ...]:
        """Rules for a linear layer and its norm."""
        return (
            Rule(f"{ours}.linear.weight", (f"{theirs}.{self.weight}.weight",), _FLAT),
            Rule(f"{ours}.norm.{{b}}", (f"{theirs}.{self.norm}.{{b}}",)),
        )

    def stem(self, theirs: tuple[str, ...]) -> tuple[Rule, ...]:
        rules: list[Rule] = []
        for number, name in enumerate(theirs):
            ours = f"embed.layers.{2 * number}"
            rules.append(Rule(f"{ours}.conv.weight", (f"{name}.{self.weight}.weight",)))
            rules.append(Rule(f"{ours}.norm.{{b}}", (f"{name}.{self.norm}.{{b}}",)))
        return tuple(rules)

    def attention(self, ours: str, theirs: str) -> tuple[Rule, ...]:
        return (
            *self.unit(f"{ours}.qkv.joint", f"{theirs}.{self.qkv}"),
            *self.unit(f"{ours}.project.1", f"{theirs}.{self.project}"),
            Rule(f"{ours}.bias.table", (f"{theirs}.attention_biases",)),
        )

    def shrinking(self, ours: str, theirs: str) -> tuple[Rule, ...]:
        return (
            *self.unit(f"{ours}.qkv.queries", f"{theirs}.{self.queries}"),
            *self.unit(f"{ours}.qkv.joint", f"{theirs}.{self.keys_values}"),
            *self.unit(f"{ours}.project.1", f"{theirs}.{self.project}"),
            Rule(f"{ours}.bias.table", (f"{theirs}.attention_biases",)),
        )

    def mlp(self, ours: str, theirs: str) -> tuple[Rule, ...]:
        return (
            *self.unit(f"{ours}.expand", f"{theirs}.{self.expand}"),
            *self.unit(f"{ours}.contract", f"{theirs}.{self.contract}"),
        )


def _classifier(ours: str, theirs: str, norm: str, layer: str) -> tuple[Rule, ...]:
    return (
        Rule(f"{ours}.norm.{{b}}", (f"{theirs}.{norm}.{{b}}",)),
        linear(f"{ours}.linear", f"{theirs}.{layer}"),
    )


_STAGE = "encoder.blocks.{s}"
_TIMM = _Names("linear", "bn", "qkv", "q.ln", "kv", "proj.ln", "ln1", "ln2")
TIMM = Layout(
    "timm LeViT",
    (
        *_TIMM.stem(tuple(f"stem.conv{number + 1}" for number in range(_CONVOLUTIONS))),
        *_TIMM.attention(f"{_STAGE}.blocks.{{i}}.attention.branch", "stages.{s}.blocks.{i}.attn"),
        *_TIMM.mlp(f"{_STAGE}.blocks.{{i}}.mlp.branch", "stages.{s}.blocks.{i}.mlp"),
        *_TIMM.shrinking(f"{_STAGE}.reduce.attention.attention", "stages.{s}.downsample.attn_downsample"),
        *_TIMM.mlp(f"{_STAGE}.reduce.mlp.branch", "stages.{s}.downsample.mlp"),
        *_classifier("head.classify", "head", "bn", "linear"),
        *_classifier("head.distill", "head_dist", "bn", "linear"),
    ),
    _COMPUTED,
)


def _in_a_row(names: _Names, depths: tuple[int, ...], place: Any, inner: str) -> tuple[Rule, ...]:
    """Rules for a source with the attentions, MLPs and reductions of all blocks in one list.

    `place(stage, number)` is their name of an entry, counted within its stage; the reduction is the last of a stage.
    """
    rules: list[Rule] = []
    for stage, depth in enumerate(depths):
        for block in range(depth):
            ours = f"encoder.blocks.{stage}.blocks.{block}"
            rules += names.attention(f"{ours}.attention.branch", f"{place(stage, 2 * block)}.{inner}")
            rules += names.mlp(f"{ours}.mlp.branch", f"{place(stage, 2 * block + 1)}.{inner}")
        if stage + 1 < len(depths):
            ours = f"encoder.blocks.{stage + 1}.reduce"
            rules += names.shrinking(f"{ours}.attention.attention", place(stage, 2 * depth))
            rules += names.mlp(f"{ours}.mlp.branch", f"{place(stage, 2 * depth + 1)}.{inner}")
    return tuple(rules)


def _official(depths: tuple[int, ...]) -> Layout:
    names = _Names("c", "bn", "qkv", "q.1", "kv", "proj.1", "0", "2")
    starts = [sum(2 * depth + 2 for depth in depths[:stage]) for stage in range(len(depths))]
    return Layout(
        f"official LeViT, depths {depths}",
        (
            *names.stem(tuple(f"patch_embed.{2 * number}" for number in range(_CONVOLUTIONS))),
            *_in_a_row(names, depths, lambda stage, number: f"blocks.{starts[stage] + number}", "m"),
            *_classifier("head.classify", "head", "bn", "l"),
            *_classifier("head.distill", "head_dist", "bn", "l"),
        ),
        _COMPUTED,
    )


def _transformers(depths: tuple[int, ...]) -> Layout:
    names = _Names(
        "linear",
        "batch_norm",
        "queries_keys_values",
        "queries",
        "keys_values",
        "projection",
        "linear_up",
        "linear_down",
    )
    stem = _Names("convolution", "batch_norm", *[""] * 6)
    return Layout(
        f"transformers LeViT, depths {depths}",
        (
            *stem.stem(tuple(f"patch_embeddings.embedding_layer_{number + 1}" for number in range(_CONVOLUTIONS))),
            *_in_a_row(names, depths, lambda stage, number: f"encoder.stages.{stage}.layers.{number}", "module"),
            *_classifier("head.classify", "classifier", "batch_norm", "linear"),
            *_classifier("head.distill", "classifier_distill", "batch_norm", "linear"),
        ),
        _COMPUTED,
        ("levit.",),
    )


# The meaning of a list entry depends on the number of blocks.
_DEPTHS = ((4, 4, 4), (2, 3, 4))
LAYOUTS = (TIMM, *map(_official, _DEPTHS), *map(_transformers, _DEPTHS))


def _config(card: Mapping[str, Any]) -> LeViTConfig:
    key_dim, widths = uniform(card, "key_dim"), card["hidden_sizes"]
    expect(card, kernel_size=3, stride=2, padding=1, patch_size=16)
    # transformers also saves one for the last stage, which is unused.
    shrinks = [["Subsample", key_dim, width // key_dim, 4, 2, 2] for width in widths[:-1]]
    expect({"down_ops": card.get("down_ops", shrinks)[: len(shrinks)]}, down_ops=shrinks)
    return LeViTConfig(
        image_size=card["image_size"],
        embed_dims=tuple(widths),
        depths=tuple(card["depths"]),
        num_heads=tuple(card["num_attention_heads"]),
        key_dim=key_dim,
        value_ratio=uniform(card, "attention_ratio"),
        mlp_ratio=uniform(card, "mlp_ratio"),
        distilled=any(name.endswith("WithTeacher") for name in card.get("architectures") or ()),
    )


CONFIGS = {"levit": _config}
