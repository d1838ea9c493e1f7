"""Rewrites that reduce the tokens inside a ViT: pruning, fusing and merging of patches."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from ..errors import VitrailError
from ..nn import (
    CLASS_TOKEN,
    MLP,
    AnyGridBias,
    Attend,
    AttentionReceived,
    AttentionWeightedPool,
    BaseVisionModel,
    Block,
    DropPath,
    Encoder,
    FuseLowest,
    GridRotaryPositions,
    JointProjection,
    JointProjectionWithoutKeyBias,
    LayerScale,
    LearnedRotaryPositions,
    LinearOfNorm,
    MergeSimilar,
    MultiHeadAttention,
    MultiHeadAttentionPool,
    NoBias,
    NoRefinement,
    PooledHead,
    PruneLowest,
    QKNorm,
    QuickGELU,
    ReadsTokens,
    ReducingResidual,
    Reduction,
    RelativeBias,
    RelativeBiasWithClass,
    RelativePositionAttention,
    Residual,
    RotaryPositions,
    ScaledQueries,
    SizeBias,
    SwiGLU,
    VisionModel,
    mean_keys,
)
from ..nn.attention.measuring import Measure
from ..nn.blocks import Blocks
from .base import Rewrite

_ANY_TOKENS = (
    *(Encoder, Blocks, Block, Residual, DropPath, LayerScale, MLP, SwiGLU, LinearOfNorm),
    *(MultiHeadAttention, RelativePositionAttention, JointProjection, JointProjectionWithoutKeyBias, Attend),
    *(NoRefinement, QKNorm, ScaledQueries, RotaryPositions, GridRotaryPositions, LearnedRotaryPositions),
    *(NoBias, AnyGridBias, RelativeBias, RelativeBiasWithClass),
    *(nn.LayerNorm, nn.RMSNorm, nn.Linear, nn.Dropout, nn.Identity, nn.GELU, QuickGELU, nn.ReLU, nn.SiLU, nn.Tanh),
)
"""Parts of an encoder that take any tokens: they treat all alike, or follow their cells (`Tokens.cover`)."""


Schedule = Literal["constant", "decreasing", "alternating"]
"""How many patches each block merges, see `MergeTokens.schedule`."""


@dataclass(frozen=True, slots=True)
class MergeTokens(Rewrite):
    """Merge similar patches after the attention of every block, without training (Bolya et al., 2023, "ToMe").

    Similar are patches with similar keys. Later attention, and that of a pool, is proportional: the logarithm of the
    number of merged patches is added to the scores of a key. A mean over the patches is weighted by these numbers.
    """

    r: int = 8
    """Patches that each block removes, on average over an even number of blocks; a block removes at most half."""
    schedule: Schedule = "constant"
    """The same r in every block; from 2 r in the first block down to 0 in the last; or 2 r in every other block from
    the first on, which spends half the time on finding pairs."""

    def __post_init__(self) -> None:
        if not 0 <= self.r <= 100_000:
            raise VitrailError(f"merge_tokens.r is {self.r}: it needs to be from 0 to 100,000")
        if self.schedule not in get_args(Schedule):
            raise VitrailError(f"merge_tokens.schedule is {self.schedule!r}: use {', '.join(get_args(Schedule))}")

    def __call__(self, model: nn.Module) -> None:
        blocks = _blocks(model)
        for block, r in zip(blocks, self.schedule_of(len(blocks)), strict=True):
            _insert(block, mean_keys, MergeSimilar(r), SizeBias())
        for module in model.modules():
            if isinstance(module, AttentionWeightedPool | MultiHeadAttentionPool):
                module.bias = SizeBias()

    def schedule_of(self, depth: int) -> tuple[int, ...]:
        """The number of patches that each of `depth` blocks removes."""
        if self.schedule == "constant":
            return (self.r,) * depth
        if self.schedule == "alternating":
            return tuple(2 * self.r * (index % 2 == 0) for index in range(depth))
        return tuple(int(2 * self.r * (1 - index / max(1, depth - 1))) for index in range(depth))


@dataclass(frozen=True, slots=True)
class PruneTokens(Rewrite):
    """Remove the patches that get the least attention of the class token, after the attention of some blocks.

    The attention is that of the tokens that the head reads: class token, class and distillation token, or, if it reads
    the patches alone, the mean of their queries. Prefix tokens stay.
    """

    keep: float = 0.7
    """Fraction of the patches that each of the blocks keeps, rounded up."""
    blocks: tuple[int, ...] = ()
    """Numbers of the blocks, from 0. By default those after a quarter, half and three quarters of the depth."""

    def __post_init__(self) -> None:
        _check("prune_tokens", self.keep, self.blocks)

    def __call__(self, model: nn.Module) -> None:
        _by_attention(model, self.keep, self.blocks, PruneLowest)


@dataclass(frozen=True, slots=True)
class FuseTokens(Rewrite):
    """As `PruneTokens`, with one token for the removed patches: their sum weighted by their attention.

    Liang et al. (2022), "EViT". A mean over the patches counts this token once for each of its cells.
    """

    keep: float = 0.7
    """Fraction of the patches that each of the blocks keeps, rounded up."""
    blocks: tuple[int, ...] = ()
    """Numbers of the blocks, from 0. By default those after a quarter, half and three quarters of the depth."""

    def __post_init__(self) -> None:
        _check("fuse_tokens", self.keep, self.blocks)

    def __call__(self, model: nn.Module) -> None:
        _by_attention(model, self.keep, self.blocks, FuseLowest)


def _check(name: str, keep: float, blocks: Iterable[int]) -> None:
    if not 0 < keep <= 1:
        raise VitrailError(f"{name}.keep is {keep}: it needs to be more than 0, at most 1")
    if any(block < 0 for block in blocks):
        raise VitrailError(f"{name}.blocks is {', '.join(map(str, blocks))}: blocks are counted from 0")


def _by_attention(
    model: nn.Module, keep: float, chosen: tuple[int, ...], kind: type[PruneLowest] | type[FuseLowest]
) -> None:
    blocks = _blocks(model)
    depth = len(blocks)
    for number in sorted(set(chosen or (depth // 4, depth // 2, 3 * depth // 4))):
        if number >= depth:
            raise VitrailError(f"there is no block {number}: this model has {depth}, counted from 0")
        _insert(blocks[number], AttentionReceived(_read_prefix(model)), kind(keep))


def _insert(block: Block, measure: Measure, reduce: Reduction, bias: nn.Module | None = None) -> None:
    residual = block.get_submodule("attention")
    assert isinstance(residual, Residual)
    block.set_submodule("attention", ReducingResidual(residual, measure, reduce, bias=bias))


def _read_prefix(model: nn.Module) -> tuple[int, ...]:
    """Numbers of the prefix tokens that the head reads."""
    head = model.get_submodule("head")
    return next((part.reads for part in head.modules() if isinstance(part, ReadsTokens)), CLASS_TOKEN).prefix


def _blocks(model: nn.Module) -> list[Block]:
    """The blocks of a model whose encoder and head take any part of the patches.

    Raises:
        VitrailError: another kind of model.
    """
    if any(isinstance(module, ReducingResidual) for module in model.modules()):
        raise VitrailError("the tokens of this model are reduced already: take the model before its reduction")
    if not isinstance(model, VisionModel) or type(model.encoder) is not Encoder:
        raise _impossible(model, type(model).__name__)
    if not isinstance(model.head, PooledHead):
        raise _impossible(model, type(model.head).__name__)
    for name, module in model.encoder.named_modules():
        kind = type_before_parametrizations(module)  # of a layer with a low-rank update
        if kind not in _ANY_TOKENS and "parametrizations" not in name.split("."):
            raise _impossible(model, kind.__name__)
    blocks = [block for block in model.encoder.blocks if isinstance(block, Block)]
    if not blocks or any([*dict(block.named_children())] != ["attention", "mlp"] for block in blocks):
        raise _impossible(model, "blocks")
    return blocks


def _impossible(model: nn.Module, part: str) -> VitrailError:
    of = type(model.config).__name__ if isinstance(model, BaseVisionModel) else type(model).__name__
    return VitrailError(
        f"the {part} of {of} needs all patches, so its tokens cannot be reduced: choose a model of plain blocks of "
        "attention and MLP and a head on pooled tokens, such as vit_small_patch16_224 or deit3_small_patch16_224"
    )
