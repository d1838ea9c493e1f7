"""Attention weights, computed again from what an `Attend` was given."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..nn.pattern import Groups

_CHUNK = 1 << 22
"""Weights that are computed at once, so that what is in between stays small beside the result."""


class Given(NamedTuple):
    """What one `Attend` was given: queries (B, h, N, d), keys (B, h, M, d), values (B, h, M, e), what is added."""

    q: Tensor
    k: Tensor
    v: Tensor
    bias: Any = None

    @classmethod
    def of(cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "Given":
        """From the arguments of a hook."""
        return cls(*args, **kwargs)

    def dense_bias(self) -> Tensor | None:
        """What is added to the scores; for groups the mask over all pairs, which the fast path never makes."""
        return self.bias.bias(self.q.shape[2], self.q.dtype) if isinstance(self.bias, Groups) else self.bias


def chosen_weights(
    attend: Any,
    q: Float[Tensor, "B h N d"],
    k: Float[Tensor, "B h M d"],
    bias: Float[Tensor, "... N M"] | None,
    heads: list[int] | None = None,
    rows: list[int] | None = None,
) -> Float[Tensor, "B g R M"]:
    """The weights of some heads and rows only, detached, in float32 or better, computed in chunks of rows."""
    dtype = torch.promote_types(q.dtype, torch.float32)
    index = torch.arange(q.shape[2], device=q.device)
    index = index if rows is None else index[torch.tensor(rows, device=q.device, dtype=torch.long)]
    a_row = q.shape[0] * (q.shape[1] if heads is None else len(heads)) * k.shape[2]

    def weights_of(some: Int[Tensor, " r"]) -> Float[Tensor, "B g r M"]:
        added = bias if bias is None else bias.expand(*q.shape[:3], k.shape[2])[:, :, some].to(dtype)
        return attend.weights(q[:, :, some].to(dtype), keys, added, heads)

    with torch.no_grad(), torch.autocast(q.device.type, enabled=False):
        keys = k.to(dtype)
        if len(index) * a_row <= _CHUNK:
            return weights_of(index)
        parts = index.split(max(1, _CHUNK // a_row))
        first = weights_of(parts[0])
        out = first.new_empty(*first.shape[:2], len(index), first.shape[3])
        for target, part in zip(out.split(len(parts[0]), dim=2), parts, strict=True):
            target.copy_(weights_of(part))
    return out
