"""Residual connections, layer scale and stochastic depth."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from .tokens import Tokens


class LayerScale(nn.Module):
    """A learned factor for each channel of a branch (Touvron et al., 2021, "Going deeper", section 2)."""

    def __init__(self, dim: int, initial: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((dim,), initial))

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        return x * self.weight


class DropPath(nn.Module):
    """Stochastic depth (Huang et al., 2016): the branch is skipped for some samples of a training batch.

    The branch is computed only for the other samples, which saves its cost. The fraction `rate` of the batch, rounded,
    is skipped; the rest is scaled by batch / kept, so that the expectation is exact (Oquab et al., 2023, "DINOv2",
    section 5).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"drop path rate {rate} is not in [0, 1): choose a smaller one")
        self.rate = rate

    def kept(self, batch: int) -> int:
        """Number of samples of a batch that keep the branch; at least one."""
        return max(1, round(batch * (1 - self.rate)))

    def forward(
        self, tokens: Tokens, branch: Callable[..., Tokens], *context: Any, stream: Tokens | None = None
    ) -> Tokens:
        """Return stream + branch(tokens, *context); in training, for random samples of the batch.

        The stream is `tokens` by default. The context may be any pytree of tensors whose first dimension is that of the
        batch, or 1.
        """
        x, onto = tokens.x, (stream or tokens).x
        batch = x.shape[0]
        if not self.training or self.rate == 0 or self.kept(batch) == batch:
            return tokens.with_x(onto + branch(tokens, *context).x)
        kept = self.kept(batch)
        chosen = torch.randperm(batch, device=x.device)[:kept]
        some = tree_map(lambda leaf: leaf if leaf.shape[0] == 1 else leaf.index_select(0, chosen), context)
        part = branch(tokens.of_images(chosen), *some).x
        return tokens.with_x(onto.index_add(0, chosen, part.to(x.dtype), alpha=batch / kept))

    def add(self, stream: Float[Tensor, "B N D"], part: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        """Return stream + part, for a branch that was computed for all samples; in training, for random ones only."""
        batch = stream.shape[0]
        if not self.training or self.rate == 0 or self.kept(batch) == batch:
            return stream + part
        kept = self.kept(batch)
        chosen = torch.randperm(batch, device=stream.device)[:kept]
        factors = part.new_zeros(batch).index_fill(0, chosen, batch / kept)
        return stream + part * factors[:, None, None]

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"


class Residual(nn.Module):
    """Residual connection, after(x + drop(scale(branch(norm(x))))). Tokens -> Tokens.

    Args:
        norm: norm before the branch, on the sequence.
        branch: Tokens -> Tokens; it also gets further arguments of the call, such as a decoder's memory.
        scale: layer after the branch, on the sequence: `LayerScale`, or a norm (Swin V2).
        after: layer after the sum, such as the norm of a post-norm block (Vaswani et al., 2017).
        drop_path: rate of stochastic depth.
    """

    def __init__(
        self,
        norm: nn.Module,
        branch: nn.Module,
        *,
        scale: nn.Module | None = None,
        after: nn.Module | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm = norm
        self.branch = branch
        self.scale = scale or nn.Identity()
        self.after = after or nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tokens, *context: Any, stream: Tokens | None = None) -> Tokens:
        """Add the output of the branch to `stream`, by default to the tokens."""
        out = self.drop_path(tokens, self._scaled_branch, *context, stream=stream)
        return out.with_x(self.after(out.x))

    def _scaled_branch(self, tokens: Tokens, *context: Any) -> Tokens:
        out = self.branch(tokens.with_x(self.norm(tokens.x)), *context)
        return out.with_x(self.scale(out.x))


class Parallel(nn.Module):
    """Parallel residuals, x + Σ drop(scale(branch(norm(x)))) (Touvron et al., 2022, "Three things everyone should
    know about vision transformers", section 3). Tokens -> Tokens.

    All branches have the same input; in a `Block` each takes the output of the last one.
    """

    def __init__(self, *residuals: Residual) -> None:
        super().__init__()
        self.residuals = nn.ModuleList(residuals)

    def forward(self, tokens: Tokens) -> Tokens:
        stream = tokens
        for residual in self.residuals:
            stream = residual(tokens, stream=stream)
        return stream


class Sum(nn.Module):
    """Sum of several branches, as one branch with one norm and one scale: Tokens -> Tokens.

    With attention and MLP it is the branch of Dehghani et al. (2023, "Scaling vision transformers to 22 billion
    parameters", section 2.1).
    """

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, tokens: Tokens) -> Tokens:
        first, *rest = [branch(tokens).x for branch in self.branches]
        return tokens.with_x(sum(rest, first))


def linear_rates(last: float, depth: int) -> list[float]:
    """Drop path rates that grow linearly from 0 to `last` over `depth` blocks (Huang et al., 2016, section 3)."""
    return [last * index / max(1, depth - 1) for index in range(depth)]
