"""Attention that also returns a measure of each patch, from which reductions choose tokens."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..tokens import Tokens
from .attend import AnyAttend
from .multi_head import MultiHeadAttention

Measure = Callable[[AnyAttend, Tensor, Tensor, Tensor | None, int], Tensor]
"""(attend, q (B, h, N, d), k (B, h, N, d), bias of the scores or None, number of prefix tokens) -> (B, P, ...)."""


@dataclass(frozen=True, slots=True)
class AttentionReceived:
    """Attention that each patch receives from some tokens, mean over these and the heads: a `Measure`, (B, P).

    Only the rows of these tokens are computed, so the attention itself keeps its fused kernel.

    Attributes:
        prefix: numbers of prefix tokens: the class token, and perhaps a distillation token. Empty for models that read
            no prefix token: the row of the mean of the patches' queries.
    """

    prefix: tuple[int, ...] = (0,)

    def __call__(
        self,
        attend: AnyAttend,
        q: Float[Tensor, "B h N d"],
        k: Float[Tensor, "B h N d"],
        bias: Float[Tensor, "... #N N"] | None,
        prefix: int,
    ) -> Float[Tensor, "B P"]:
        rows = None if bias is None or bias.shape[-2] == 1 else self._chosen(bias, prefix)
        weights = attend.weights(self._chosen(q, prefix), k, bias if rows is None else rows)
        return weights.mean(dim=(1, 2))[:, prefix:]

    def _chosen(self, rows: Float[Tensor, "... N M"], prefix: int) -> Float[Tensor, "... R M"]:
        if not self.prefix:
            return rows[..., prefix:, :].mean(dim=-2, keepdim=True)
        return torch.cat([rows[..., number : number + 1, :] for number in self.prefix], dim=-2)


def mean_keys(
    attend: AnyAttend,
    q: Float[Tensor, "B h N d"],
    k: Float[Tensor, "B h N d"],
    bias: Float[Tensor, "... #N N"] | None,
    prefix: int,
) -> Float[Tensor, "B P d"]:
    """Keys of the patches, after norms and rotation, mean over the heads: a `Measure` (Bolya et al., 2023)."""
    return k.mean(dim=1)[:, prefix:]


class MeasuringAttention(MultiHeadAttention):
    """Multi-head attention with a measure of each patch: Tokens -> (Tokens, (B, P, ...)).

    Args:
        attention: the attention whose parts it takes, under the same names.
        measure: computed from the queries, keys and bias of the attention itself.
    """

    attend: AnyAttend

    def __init__(self, attention: MultiHeadAttention, measure: Measure) -> None:
        nn.Module.__init__(self)
        self.num_heads = attention.num_heads
        for name, part in attention.named_children():
            self.add_module(name, part)
        self.measure = measure

    def forward(  # type: ignore[override]
        self, tokens: Tokens, mask: Float[Tensor, "... #N #M"] | None = None
    ) -> tuple[Tokens, Tensor]:
        q, k, v, bias = self.attended(tokens, mask)
        out = tokens.with_x(self._joined(self.attend(q, k, v, bias)))
        return out, self.measure(self.attend, q, k, bias, tokens.prefix)


class SizeBias(nn.Module):
    """Logarithm of the number of cells of each key, added to its scores: Tokens -> (B, 1, 1, N), or None if all are 1.

    Proportional attention (Bolya et al., 2023, "Token merging", section 3, equation 1): a merged token counts as often
    as the tokens that it replaces, which is exact if these were equal. Prefix tokens count once.
    """

    def forward(self, tokens: Tokens) -> Float[Tensor, "B 1 1 N"] | None:
        weights = tokens.weights
        if weights is None:
            return None
        return F.pad(weights.log().to(tokens.x.dtype), (tokens.prefix, 0))[:, None, None]
