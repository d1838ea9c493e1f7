"""Pruning, fusing and merging of patch tokens inside a model: fewer tokens, with known cells."""

import math
from abc import ABC, abstractmethod
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from .attention.measuring import Measure, MeasuringAttention
from .attention.multi_head import MultiHeadAttention, NoBias
from .cells import NO_TOKEN, counting_dtype
from .residual import Residual
from .tokens import Tokens, rows_of

TokensT = TypeVar("TokensT", Tokens, Tensor)


class Reduction(nn.Module, ABC):
    """Base class of reductions: (Tokens, measure of each patch) -> Tokens with the same prefix and fewer patches.

    The number of patches that are left depends only on the number before, never on their values.
    """

    @abstractmethod
    def forward(self, tokens: Tokens, measured: Float[Tensor, "B P *m"]) -> Tokens:
        """Reduce the patches; see the subclass for the measure."""


class PruneLowest(Reduction):
    """Remove the patches with the lowest scores; `measured` is (B, P). The rest keep their order.

    Args:
        keep: fraction of the patches that is kept, rounded up.
    """

    def __init__(self, keep: float) -> None:
        super().__init__()
        self.keep = keep

    def forward(self, tokens: Tokens, measured: Float[Tensor, "B P"]) -> Tokens:
        count = kept_of(measured.shape[1], self.keep)
        return tokens if count == measured.shape[1] else tokens.keep(_ranked(measured)[:, :count].sort().values)

    def extra_repr(self) -> str:
        return f"keep={self.keep:g}"


class FuseLowest(Reduction):
    """Replace the patches with the lowest scores by their sum weighted by the scores; `measured` is (B, P).

    Liang et al. (2022), "EViT: expediting vision transformers via token reorganizations", section 3.2. The fused token
    comes last, and represents all cells of the tokens that it replaces.

    Args:
        keep: fraction of the patches that is kept, rounded up.
    """

    def __init__(self, keep: float) -> None:
        super().__init__()
        self.keep = keep

    def forward(self, tokens: Tokens, measured: Float[Tensor, "B P"]) -> Tokens:
        count = kept_of(measured.shape[1], self.keep)
        if count == measured.shape[1]:
            return tokens
        order = _ranked(measured)
        kept, rest = order[:, :count].sort().values, order[:, count:]
        weights = measured.gather(1, rest).to(tokens.x.dtype).unsqueeze(2)
        fused = (rows_of(tokens.patches, rest) * weights).sum(dim=1, keepdim=True)
        names = torch.full_like(order, count).scatter(1, kept, torch.arange(count, device=kept.device).expand_as(kept))
        return tokens.with_patches(
            torch.cat([rows_of(tokens.patches, kept), fused], dim=1), F.pad(names, (0, 1), value=NO_TOKEN)
        )

    def extra_repr(self) -> str:
        return f"keep={self.keep:g}"


class MergeSimilar(Reduction):
    """Merge the r most similar pairs of patches; `measured` is (B, P, d), compared by cosine.

    Bipartite soft matching (Bolya et al., 2023, "Token merging: your ViT but faster", section 3). Every other token of
    the sequence finds the most similar of the others, and the r most similar pairs are merged to the mean weighted by
    their cells. The tokens that were not merged come first, then those that others were merged into, each in order.

    Args:
        r: number of patches that are merged into others; at most half of the patches.
    """

    def __init__(self, r: int) -> None:
        super().__init__()
        self.r = r

    def forward(self, tokens: Tokens, measured: Float[Tensor, "B P d"]) -> Tokens:
        count = measured.shape[1]
        r = min(self.r, count // 2)
        if r == 0:
            return tokens
        # As in the published code, tokens at even places of the whole sequence are merged into those at odd places.
        first = tokens.prefix % 2
        rest, source, target = _matched(measured.detach(), r, first)
        patches = tokens.patches
        merged_into = _every_other(patches, 1 - first)
        cells = tokens.weights
        if cells is None:
            cells = tokens.x.new_ones(1, 1, dtype=counting_dtype(tokens.x)).expand(measured.shape[:2])
        rest_at, source_at = 2 * rest + first, 2 * source + first
        given, taken = cells.gather(1, source_at), cells[:, 1 - first :: 2]
        counted = taken.scatter_add(1, target, given)
        weighted = rows_of(patches, source_at) * given.to(patches.dtype).unsqueeze(2)
        at = target.unsqueeze(2).expand(-1, -1, patches.shape[2])
        total = (merged_into * taken.to(patches.dtype).unsqueeze(2)).scatter_add(1, at, weighted)
        merged = total / counted.to(patches.dtype).unsqueeze(2)
        if rest.shape[1] > 0:  # OpenVINO reads a length of 0 in a view as that of the input
            merged = torch.cat([rows_of(patches, rest_at), merged], dim=1)
            counted = torch.cat([cells.gather(1, rest_at), counted], dim=1)
        return tokens.with_patches(merged, _names(rest, source, target, merged_into.shape[1], first), counted)

    def extra_repr(self) -> str:
        return f"r={self.r}"


class ReducingResidual(nn.Module):
    """A residual attention whose output tokens are reduced: Tokens -> fewer Tokens.

    Args:
        residual: the residual whose parts it takes, under the same names; its branch is a `MultiHeadAttention`.
        measure: what the reduction needs, computed in the attention.
        reduce: (Tokens after the residual, measure) -> Tokens.
        bias: Tokens -> bias of the attention scores, such as `SizeBias`; none by default.
    """

    def __init__(
        self, residual: Residual, measure: Measure, reduce: Reduction, *, bias: nn.Module | None = None
    ) -> None:
        super().__init__()
        if not isinstance(residual.branch, MultiHeadAttention):
            raise ValueError(f"the branch is {type(residual.branch).__name__}: only multi-head attention can measure")
        self.norm = residual.norm
        self.branch = MeasuringAttention(residual.branch, measure)
        self.scale = residual.scale
        self.after = residual.after
        self.drop_path = residual.drop_path
        self.bias = bias or NoBias()
        self.reduce = reduce

    def forward(self, tokens: Tokens) -> Tokens:
        out, measured = self.branch(tokens.with_x(self.norm(tokens.x)), self.bias(tokens))
        # The measure is needed for all images of the batch, so stochastic depth does not save the branch's cost here.
        x = self.drop_path.add(tokens.x, self.scale(out.x))
        return self.reduce(tokens.with_x(self.after(x)), measured)


def adaptive_token_pruning(x: TokensT, keep_ratio: float, scores: Float[Tensor, "B P"] | None = None) -> TokensT:
    """Keep the patch tokens with the highest scores, in their order; prefix tokens are always kept.

    Args:
        x: `Tokens`, or a tensor (B, 1 + P, D) whose first token is the class token. The result has the same type;
            the `cover` of Tokens has the cells of the tokens that are left.
        keep_ratio: fraction of the patches that is kept, in (0, 1]; rounded up. With 1, `x` itself is returned.
        scores: one number for each patch, such as the attention of the class token to it, (B, P). By default the
            attention of the class token in the space of the tokens themselves, softmax(x_class xᵀ / √D), whose order is
            that of the scalar products; of the mean of the patches for Tokens without a prefix.

    Returns:
        x with ⌈keep_ratio · P⌉ patches.

    Raises:
        ValueError: the ratio is not in (0, 1], or the tensor has no patches.
    """
    if not 0 < keep_ratio <= 1:
        raise ValueError(f"keep_ratio {keep_ratio} is not in (0, 1]: 0.7 keeps 70 % of the patches")
    if isinstance(x, Tensor):
        if x.ndim != 3 or x.shape[1] < 2:
            raise ValueError(f"a tensor {tuple(x.shape)} is not (B, 1 + P, D), a class token and patches")
        return adaptive_token_pruning(Tokens(x, (x.shape[1] - 1,), prefix=1), keep_ratio, scores).x
    if scores is None:
        query = x.x[:, :1] if x.prefix else x.patches.mean(dim=1, keepdim=True)
        scores = (x.patches * query).sum(dim=2)
    return PruneLowest(keep_ratio)(x, scores)


def kept_of(count: int, keep: float) -> int:
    """Number of tokens kept of `count`: the fraction `keep`, rounded up."""
    return min(count, max(1, math.ceil(round(count * keep, 6))))


def _ranked(scores: Float[Tensor, "B P"]) -> Int[Tensor, "B P"]:
    """Indices from the highest score to the lowest."""
    return scores.topk(scores.shape[1]).indices


def _every_other(x: Float[Tensor, "B N d"], first: int) -> Float[Tensor, "B _ d"]:
    """x[:, first::2], as a selection of rows: graph engines are slow at strided slices."""
    return x.index_select(1, torch.arange(first, x.shape[1], 2, device=x.device))


def _matched(
    keys: Float[Tensor, "B P d"], r: int, first: int
) -> tuple[Int[Tensor, "B _"], Int[Tensor, "B r"], Int[Tensor, "B r"]]:
    """Of every other token: those that stay, those that are merged, and the other token that each is merged into.

    Args:
        keys: compared by cosine.
        r: number of pairs.
        first: 0 or 1, the first token of those that may be merged.
    """
    unit = F.normalize(keys, dim=2)
    best, partner = (_every_other(unit, first) @ _every_other(unit, 1 - first).transpose(1, 2)).max(dim=2)
    order = _ranked(best)
    rest, source = order[:, r:].sort().values, order[:, :r]
    return rest, source, partner.gather(1, source)


def _names(
    rest: Int[Tensor, "B n"], source: Int[Tensor, "B r"], target: Int[Tensor, "B r"], others: int, first: int
) -> Int[Tensor, "B P1"]:
    """New index of each old token, see `Tokens.with_patches`."""
    device, stay = rest.device, rest.shape[1]
    own = torch.cat([rest, source], dim=1)  # each token that may be merged once
    new = torch.cat([torch.arange(stay, device=device).expand_as(rest), target + stay], dim=1)
    moved = torch.zeros_like(own).scatter(1, own, new)
    kept = torch.arange(stay, stay + others, device=device).expand(rest.shape[0], -1)
    both = torch.cat([moved, kept], dim=1)
    where = torch.arange(both.shape[1], device=device)
    inverse = torch.cat([where[first::2], where[1 - first :: 2]]).argsort()
    return F.pad(both.index_select(1, inverse), (0, 1), value=NO_TOKEN)
