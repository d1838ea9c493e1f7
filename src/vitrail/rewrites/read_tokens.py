"""Exact rewrite: the last block computes only the tokens that the head reads."""

from dataclasses import dataclass

from torch import nn

from ..errors import VitrailError
from ..nn import (
    MLP,
    Attend,
    Block,
    ClassAttention,
    ConvMLP,
    ConvProjection,
    DualEncoder,
    Encoder,
    GroupedAttend,
    JointProjection,
    JointProjectionWithoutKeyBias,
    LayerScale,
    LinearNorm,
    LinearOfMean,
    MeanPool,
    MultiHeadAttention,
    NamesPrefix,
    NoBias,
    OnMean,
    OnPrefix,
    Parallel,
    PatchesOnly,
    PooledHead,
    PrefixOnly,
    PrefixQueries,
    ReadsTokens,
    ReducedProjection,
    ReducingResidual,
    Residual,
    Stage,
    SwiGLU,
    TokensRead,
)
from .base import Rewrite

_WAY_OUT = "leave read_tokens_only out"
_PER_TOKEN_NORMS = (nn.LayerNorm, nn.RMSNorm, nn.Identity)


@dataclass(frozen=True, slots=True)
class ReadTokensOnly(Rewrite):
    """Compute only those tokens in the last block that the head reads.

    * If the head reads prefix tokens, such as the class token, the last attention has their queries only, with keys and
      values of all tokens, and the layers behind it run on these tokens.
    * If it reads the mean over the patches, the last linear layer runs on the mean where no norm is in between, and
      prefix tokens end in front of the last MLP.

    `forward_features` then returns these tokens only; in `Tokens.cover` the other cells have no token, or all cells
    share the mean.
    """

    def __call__(self, model: nn.Module) -> None:
        images = model.image if isinstance(model, DualEncoder) else model
        parts = dict(images.named_children())
        encoder, head = parts.get("encoder"), parts.get("head")
        if not isinstance(encoder, Encoder) or not isinstance(head, PooledHead):
            raise VitrailError(f"the head of this model does not pool the tokens of one encoder: {_WAY_OUT}")
        pool, block = _pool(head), _last_block(encoder)
        reads = pool.reads if isinstance(pool, ReadsTokens) else TokensRead(weighted=True)
        if reads.weighted or (reads.prefix and reads.patches):
            raise VitrailError(f"the head of this model reads prefix tokens and patches: {_WAY_OUT}")
        if reads.prefix:
            _read_prefix(block, max(reads.prefix) + 1)
            return
        # Tokens that were merged count by their cells in the mean, which `LinearOfMean` does not know.
        reduced = any(isinstance(module, ReducingResidual) for module in encoder.modules())
        only_mean = type(pool) is MeanPool and not reduced and not _norms_behind(encoder) and _read_mean(block)
        if not only_mean and not _drop_prefix(images, block):
            raise VitrailError(f"the head of this model reads all that the last block computes: {_WAY_OUT}")


def _pool(head: PooledHead) -> nn.Module:
    """The module that states what the head reads: the head, or its pool."""
    return head if isinstance(head, ReadsTokens) else dict(head.named_children()).get("pool", head)


def _last_block(encoder: Encoder) -> Block:
    holder: nn.Module = encoder
    while isinstance(holder, Encoder | Stage) and len(holder.blocks):
        holder = holder.blocks[-1]
    if not isinstance(holder, Block) or not len(holder):
        raise VitrailError(
            f"the last block of this model is a {type(holder).__name__} without attention to select from: {_WAY_OUT}"
        )
    return holder


def _norms_behind(encoder: Encoder) -> bool:
    """Whether a norm is between the last block and the head."""
    stage = encoder.blocks[-1]
    norms = [encoder.norm, *([stage.norm] if isinstance(stage, Stage) else [])]
    return not all(isinstance(norm, nn.Identity) for norm in norms)


def _read_prefix(block: Block, count: int) -> None:
    """Let a block compute its first `count` prefix tokens only."""
    parts = list(block.named_children())
    attends = [index for index, (_, part) in enumerate(parts) if not _is_per_token(part)]
    if not attends:
        raise VitrailError(f"the last block of this model has no attention: {_WAY_OUT}")
    name, part = parts[attends[-1]]
    if isinstance(part, Parallel):
        chosen = [_checked(each) for each in part.residuals]  # all, before one is changed
        part.residuals = nn.ModuleList([_on_prefix(*each, count) for each in chosen])
    else:
        block.add_module(name, _on_prefix(*_checked(part), count))


def _checked(residual: nn.Module) -> tuple[Residual, MultiHeadAttention]:
    """A residual and its attention, which can compute some queries only."""
    branch = residual.branch if isinstance(residual, Residual) else residual
    if isinstance(branch, ClassAttention | PrefixOnly):
        raise VitrailError(f"the last block of this model computes the class token only as it is: {_WAY_OUT}")
    if not isinstance(residual, Residual) or not isinstance(branch, MultiHeadAttention) or not _can_select(branch.qkv):
        kind = type(branch).__name__
        raise VitrailError(
            f"the last block of this model has a {kind}, which cannot compute some tokens only: {_WAY_OUT}"
        )
    return residual, branch


def _on_prefix(residual: Residual, branch: MultiHeadAttention, count: int) -> OnPrefix:
    if isinstance(branch.attend, GroupedAttend):  # prefix tokens attend to all tokens in every pattern
        branch.bias, branch.attend = NoBias(), Attend(branch.attend.kernel)
    residual.branch = PrefixQueries(branch, count)
    return OnPrefix(residual, count)


def _can_select(qkv: nn.Module) -> bool:
    """Whether a projection can make the queries of some tokens, with the keys of all."""
    if isinstance(qkv, ReducedProjection):
        return isinstance(qkv.reduce, nn.Identity)
    return isinstance(qkv, JointProjection | JointProjectionWithoutKeyBias | ConvProjection)


def _is_per_token(part: nn.Module) -> bool:
    """Whether residuals compute each token from itself alone."""
    if isinstance(part, Parallel):
        return all(map(_is_per_token, part.residuals))
    branch = part.branch if isinstance(part, Residual) else None
    return isinstance(branch, MLP | SwiGLU) and isinstance(branch.norm, _PER_TOKEN_NORMS)


def _read_mean(block: Block) -> bool:
    """Let the last linear layer of a block run on the mean over the patches; False if it is not linear up to there."""
    name, part = list(block.named_children())[-1]
    if not isinstance(part, Residual) or not isinstance(part.after, nn.Identity):
        return False
    mlp = part.branch
    while isinstance(mlp, nn.Sequential) and len(mlp):
        mlp = mlp[-1]
    if not isinstance(part.scale, nn.Identity | LayerScale) or not isinstance(mlp, MLP | SwiGLU | ConvMLP):
        return False
    if not isinstance(mlp.contract, nn.Linear | LinearNorm):
        return False
    mlp.contract = LinearOfMean(mlp.contract)
    block.add_module(name, OnMean(part))
    return True


def _drop_prefix(model: nn.Module, block: Block) -> bool:
    """Drop the prefix tokens in front of the last residual; False if there are none, or it needs them."""
    *before, (name, last) = list(block.named_children())
    if not before or not _is_per_token(last) or not any(isinstance(part, NamesPrefix) for part in model.modules()):
        return False
    block.add_module(name, nn.Sequential(PatchesOnly(), last))
    return True
