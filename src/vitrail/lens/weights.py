"""Recomputes attention weights from the inputs of an `Attend`."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..nn import Groups

_CHUNK = 1 << 22
"""Number of weights computed at once, so that intermediate values stay small."""


class Given(NamedTuple):
    """Inputs of one `Attend`: queries (B, h, N, d), keys (B, h, M, d), values (B, h, M, e), bias of the scores."""

    q: Tensor
    k: Tensor
    v: Tensor
    bias: Any = None

    @classmethod
    def of(cls, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "Given":
        """Return the inputs from the arguments of a hook."""
        return cls(*args, **kwargs)

    def dense_bias(self) -> Tensor | None:
        """Bias of the scores; for groups the mask over all pairs, which the fast path does not compute."""
        return self.bias.bias(self.q.shape[2], self.q.dtype) if isinstance(self.bias, Groups) else self.bias


def chosen_weights(
    attend: Any,
    q: Float[Tensor, "B h N d"],
    k: Float[Tensor, "B h M d"],
    bias: Float[Tensor, "... N M"] | None,
    heads: list[int] | None = None,
    rows: list[int] | None = None,
) -> Float[Tensor, "B g R M"]:
    """Weights of selected heads and rows, detached, in float32 or higher, computed in chunks of rows."""
    dtype = torch.promote_types(q.dtype, torch.float32)
    if rows is not None:
        index = torch.tensor(rows, device=q.device, dtype=torch.long)
        q, bias = q[:, :, index], _rows_of(bias, index)
    count = q.shape[1] if heads is None else len(heads)
    step = max(1, _CHUNK // max(1, q.shape[0] * count * k.shape[2]))
    parts = [slice(start, start + step) for start in range(0, q.shape[2], step)]

    def weights_of(part: slice) -> Float[Tensor, "B g r M"]:
        added = _rows_of(bias, part)
        return attend.weights(q[:, :, part].to(dtype), keys, added if added is None else added.to(dtype), heads)

    with torch.no_grad(), torch.autocast(q.device.type, enabled=False):
        keys = k.to(dtype)
        if len(parts) <= 1:
            return weights_of(slice(None))
        out = keys.new_empty(q.shape[0], count, q.shape[2], k.shape[2])
        for part in parts:
            out[:, :, part] = weights_of(part)
    return out


def _rows_of(bias: Float[Tensor, "... #N #M"] | None, rows: slice | Int[Tensor, " r"]) -> Float[Tensor, "..."] | None:
    """Bias of selected rows; a bias that all rows share is unchanged."""
    return bias if bias is None or bias.shape[-2] == 1 else bias[..., rows, :]
