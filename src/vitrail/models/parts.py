"""Builders of parts that several families share: embeddings, encoders, blocks, heads."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from typing import get_args

from torch import nn

from ..errors import VitrailError, nearest
from ..nn import (
    MLP,
    AttentionWeightedPool,
    Block,
    ClassAndMean,
    ConvStem,
    Embedding,
    Encoder,
    FirstToken,
    Head,
    HybridPatchEmbed,
    JointProjection,
    LayerScale,
    LearnedPositions,
    MeanPool,
    MLPHead,
    MultiHeadAttention,
    MultiHeadAttentionPool,
    PatchEmbed,
    PrefixTokens,
    QuickGELU,
    Residual,
    WhitenedStem,
    linear_rates,
)
from .fields import BlockFields, EncoderFields, PositionedFields, ViTFields, pair
from .words import HeadKind

Patches = PatchEmbed | HybridPatchEmbed | ConvStem | WhitenedStem
"""Modules that convert an image to tokens on a grid."""

BRANCH_ENDS = ("attention.branch.project", "mlp.branch.contract")
"""Names of the last linear layers of the branches of a block."""


def vit_embed(
    config: PositionedFields, patches: Patches, *, prefix: int = 1, norm: nn.Module | None = None
) -> Embedding:
    """ViT's embedding: patches, prefix tokens, and learned positions for both (Dosovitskiy et al., 2021, equation 1).

    Args:
        config: the model's config.
        patches: pixels -> Tokens, see `patch_embed`.
        prefix: number of prefix tokens.
        norm: Tokens -> Tokens, applied before the blocks.
    """
    positions = learned_positions(config, patches, prefix=prefix)
    behind = {} if norm is None else {"norm": norm}
    return Embedding(patches, prefix=PrefixTokens(config.embed_dim, prefix), positions=positions, **behind)


def patch_embed(config: ViTFields, *, bias: bool = True) -> PatchEmbed:
    """ViT's patch embedding, with the config's patch size."""
    return PatchEmbed(config.in_channels, config.embed_dim, pair(config.patch_size), pad=config.pad, bias=bias)


def learned_positions(
    config: PositionedFields, patches: Patches, *, prefix: int = 0, offset: float = 0.0
) -> LearnedPositions:
    """Learned positions of the prefix tokens and of the patches of an image of the config's size."""
    return LearnedPositions(
        patches.grid(pair(config.image_size)),
        config.embed_dim,
        prefix=prefix,
        mode=config.position_mode,
        antialias=config.position_antialias,
        offset=offset,
    )


ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "quick_gelu": QuickGELU,
}


def activation_of(name: str) -> Callable[[], nn.Module]:
    """Constructor of the activation that a config names."""
    if name not in ACTIVATIONS:
        raise VitrailError(f"there is no activation {name!r}: {nearest(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]


def vit_encoder(
    config: BlockFields,
    *,
    layer_scale: float | None = None,
    activation: Callable[[], nn.Module] = nn.GELU,
    norm: bool = True,
) -> Encoder:
    """ViT's encoder: `depth` blocks with linearly growing drop path, and a norm unless the head has it."""
    blocks = []
    for index, rate in enumerate(linear_rates(config.drop_path, config.depth)):
        widths = config.block_widths(index)
        blocks.append(
            vit_block(
                config.embed_dim,
                widths.num_heads,
                config.mlp_ratio,
                head_dim=widths.head_dim,
                mlp_dim=widths.mlp_dim,
                drop_path=rate,
                dropout=config.dropout,
                layer_scale=layer_scale,
                norm_eps=config.norm_eps,
                activation=activation,
            )
        )
    return Encoder(blocks, norm=nn.LayerNorm(config.embed_dim, eps=config.norm_eps) if norm else None)


def vit_block(
    dim: int,
    num_heads: int,
    mlp_ratio: float,
    *,
    head_dim: int | None = None,
    mlp_dim: int | None = None,
    drop_path: float = 0.0,
    dropout: float = 0.0,
    layer_scale: float | None = None,
    norm_eps: float = 1e-6,
    activation: Callable[[], nn.Module] = nn.GELU,
    bias: nn.Module | None = None,
) -> Block:
    """Pre-norm block of ViT (Dosovitskiy et al., 2021, equations 2 and 3), with DeiT III's optional layer scale.

    `bias` is added to the scores, see `MultiHeadAttention`; `head_dim` and `mlp_dim` replace dim / num_heads and
    dim * mlp_ratio.
    """
    residual = partial(pre_norm, dim, drop_path=drop_path, layer_scale=layer_scale, norm_eps=norm_eps)
    attention = vit_attention(dim, num_heads, head_dim, bias=bias, dropout=dropout)
    mlp = MLP(dim, mlp_dim or int(dim * mlp_ratio), activation=activation, dropout=dropout)
    return Block(attention=residual(attention), mlp=residual(mlp))


def vit_attention(
    dim: int,
    num_heads: int,
    head_dim: int | None = None,
    *,
    qkv: nn.Module | None = None,
    refine: nn.Module | None = None,
    bias: nn.Module | None = None,
    attend: nn.Module | None = None,
    project: nn.Module | None = None,
    dropout: float = 0.0,
) -> MultiHeadAttention:
    """ViT's attention. With `head_dim`, the joined heads may be narrower or wider than the tokens.

    Args:
        dim, num_heads, dropout: as in `MultiHeadAttention`.
        head_dim: width of a head; dim / num_heads by default.
        qkv, refine, bias, attend, project: other parts, see `MultiHeadAttention`; `qkv` and `project` for this width.
    """
    width = num_heads * (head_dim or dim // num_heads)
    return MultiHeadAttention(
        dim,
        num_heads,
        qkv=qkv or JointProjection(dim, num_heads, head_dim=head_dim),
        refine=refine,
        bias=bias,
        attend=attend,
        project=project or nn.Linear(width, dim),
        dropout=dropout,
    )


def vit_residuals(
    config: EncoderFields,
    attention: nn.Module,
    mlp: nn.Module | None = None,
    *,
    drop_path: float = 0.0,
    layer_scale: float | None = None,
) -> dict[str, Residual]:
    """Residuals of a pre-norm `Block` with the given attention, and with ViT's MLP or another."""
    dim = config.embed_dim
    mlp = mlp or MLP(dim, int(dim * config.mlp_ratio), dropout=config.dropout)
    residual = partial(pre_norm, dim, drop_path=drop_path, layer_scale=layer_scale, norm_eps=config.norm_eps)
    return {"attention": residual(attention), "mlp": residual(mlp)}


def pre_norm(
    dim: int,
    branch: nn.Module,
    *,
    drop_path: float = 0.0,
    layer_scale: float | None = None,
    norm_eps: float = 1e-6,
) -> Residual:
    """x + branch(layer norm(x)), with optional layer scale and stochastic depth."""
    scale = None if layer_scale is None else LayerScale(dim, layer_scale)
    return Residual(nn.LayerNorm(dim, eps=norm_eps), branch, scale=scale, drop_path=drop_path)


def post_norm(dim: int, branch: nn.Module, *, drop_path: float = 0.0, norm_eps: float = 1e-5) -> Residual:
    """layer norm(x + branch(x)), as in the original transformer (Vaswani et al., 2017, section 3.1)."""
    return Residual(nn.Identity(), branch, after=nn.LayerNorm(dim, eps=norm_eps), drop_path=drop_path)


def stage_rates(last: float, depths: tuple[int, ...]) -> list[list[float]]:
    """`linear_rates` over the blocks of all stages, stage by stage."""
    rates = iter(linear_rates(last, sum(depths)))
    return [list(islice(rates, depth)) for depth in depths]


def classifier(dim: int, num_classes: int, *, bias: bool = True) -> nn.Module:
    """A linear layer, or the identity if there are no classes, so that the output is the pooled embedding."""
    return nn.Linear(dim, num_classes, bias=bias) if num_classes else nn.Identity()


POOLS: Mapping[str, Callable[[EncoderFields], nn.Module]] = {
    "class": lambda config: FirstToken(),
    "mean": lambda config: MeanPool(),
    "both": lambda config: ClassAndMean(),
    "attention": lambda config: AttentionWeightedPool(config.embed_dim),
    "multi_head": lambda config: MultiHeadAttentionPool(
        config.embed_dim,
        config.num_heads,
        MLP(config.embed_dim, int(config.embed_dim * config.mlp_ratio)),
        norm_eps=config.norm_eps,
    ),
}
"""Builders of the pools in `words.Pool`."""


def pooling_head(config: ViTFields, pool: str, *, head: str = "linear", norm: nn.Module | None = None) -> Head:
    """Head of one of `POOLS`, an optional norm, and a classifier that is "linear" or an "mlp".

    Raises:
        VitrailError: unknown name; the message suggests the nearest one.
    """
    if pool not in POOLS:
        raise VitrailError(f"there is no pool {pool!r}: {nearest(pool, list(POOLS))}")
    if head not in get_args(HeadKind):
        raise VitrailError(f"there is no head {head!r}: {nearest(head, get_args(HeadKind))}")
    width, classes = (2 if pool == "both" else 1) * config.embed_dim, config.num_classes
    if head == "mlp" and classes:
        return Head(POOLS[pool](config), MLPHead(width, width, classes), norm=norm)
    return Head(POOLS[pool](config), classifier(width, classes), norm=norm)
