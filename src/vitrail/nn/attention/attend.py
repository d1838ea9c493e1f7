"""softmax(q kᵀ / √d + bias) v, in one place."""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class AnyAttend(nn.Module, ABC):
    """What the lens looks for: queries, keys, values and what is added to the scores at its door, and `weights`."""

    @abstractmethod
    def weights(
        self,
        q: Float[Tensor, "B h N d"],
        k: Float[Tensor, "B h M d"],
        bias: Float[Tensor, "... #N #M"] | None = None,
        heads: list[int] | None = None,
    ) -> Float[Tensor, "B _ N M"]:
        """How much each query takes from each key, for all heads or some."""


class Attend(AnyAttend):
    """Scaled dot-product attention (Vaswani et al., 2017, section 3.2.1).

    A submodule of every attention, so that what it is given (queries and keys after norm and rotation, and the
    bias) can be observed at its door.
    """

    def forward(
        self,
        q: Float[Tensor, "B h N d"],
        k: Float[Tensor, "B h M d"],
        v: Float[Tensor, "B h M e"],
        bias: Float[Tensor, "... #N #M"] | None = None,
    ) -> Float[Tensor, "B h N e"]:
        return attention(q, k, v, bias)

    def weights(
        self,
        q: Float[Tensor, "B h N d"],
        k: Float[Tensor, "B h M d"],
        bias: Float[Tensor, "... #N #M"] | None = None,
        heads: list[int] | None = None,
    ) -> Float[Tensor, "B _ N M"]:
        """How much each query takes from each key, for all heads or some; every row sums to 1."""
        return weights_of_heads(q, k, bias, heads)


class TalkingHeadsAttend(AnyAttend):
    """Attention whose heads are mixed before and after softmax (Shazeer et al., 2020, "Talking-heads attention").

    Args:
        num_heads: heads h.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.mix_scores = nn.Linear(num_heads, num_heads)
        self.mix_weights = nn.Linear(num_heads, num_heads)

    def forward(
        self,
        q: Float[Tensor, "B h N d"],
        k: Float[Tensor, "B h M d"],
        v: Float[Tensor, "B h M e"],
        bias: Float[Tensor, "... #N #M"] | None = None,
    ) -> Float[Tensor, "B h N e"]:
        return self.weights(q, k, bias) @ v

    def weights(
        self,
        q: Float[Tensor, "B h N d"],
        k: Float[Tensor, "B h M d"],
        bias: Float[Tensor, "... #N #M"] | None = None,
        heads: list[int] | None = None,
    ) -> Float[Tensor, "B _ N M"]:
        """How much each query takes from each key, after both mixings; rows need not sum to 1."""
        scores = _mixed(attention_scores(q, k, bias), self.mix_scores)
        weights = _mixed(scores.softmax(dim=-1), self.mix_weights)
        return weights if heads is None else weights[:, heads]


ATTENDS = (AnyAttend,)


def attention(
    q: Float[Tensor, "B h N d"],
    k: Float[Tensor, "B h M d"],
    v: Float[Tensor, "B h M e"],
    bias: Float[Tensor, "... #N #M"] | None = None,
) -> Float[Tensor, "B h N e"]:
    """softmax(q kᵀ / √d + bias) v, by the faster of two exact paths for the device and the mode."""
    if _explicit_is_faster(q):
        return attention_weights(q, k, bias) @ v
    if bias is not None and bias.ndim < 4:
        bias = bias[(None,) * (4 - bias.ndim)]  # the fused kernels take four dimensions
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def attention_scores(
    q: Float[Tensor, "B h N d"],
    k: Float[Tensor, "B h M d"],
    bias: Float[Tensor, "... #N #M"] | None = None,
) -> Float[Tensor, "B h N M"]:
    """q kᵀ / √d + bias: before softmax."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    return scores if bias is None else scores + bias


def attention_weights(
    q: Float[Tensor, "B h N d"],
    k: Float[Tensor, "B h M d"],
    bias: Float[Tensor, "... #N #M"] | None = None,
) -> Float[Tensor, "B h N M"]:
    """softmax(q kᵀ / √d + bias): every row sums to 1."""
    return attention_scores(q, k, bias).softmax(dim=-1)


def weights_of_heads(
    q: Float[Tensor, "B h N d"],
    k: Float[Tensor, "B h M d"],
    bias: Float[Tensor, "... #N #M"] | None,
    heads: list[int] | None,
) -> Float[Tensor, "B _ N M"]:
    """`attention_weights` of all heads or some."""
    if heads is None:
        return attention_weights(q, k, bias)
    return attention_weights(q[:, heads], k[:, heads], bias if bias is None else _of_heads(bias, q)[:, heads])


def _mixed(maps: Float[Tensor, "B h N M"], mix: nn.Linear) -> Float[Tensor, "B h N M"]:
    return F.linear(maps.movedim(1, -1), mix.weight.to(maps.dtype), mix.bias.to(maps.dtype)).movedim(-1, 1)


def _of_heads(bias: Float[Tensor, "... #N #M"], q: Float[Tensor, "B h N d"]) -> Float[Tensor, "B h #N #M"]:
    return bias.expand(*q.shape[:2], *bias.shape[-2:])


def _explicit_is_faster(q: Tensor) -> bool:
    # PyTorch's fused kernel on a CPU has a slow backward in reduced precision (6 times slower than two batched
    # products, measured on AMX); forward alone, and everywhere else, the fused kernel wins. See LOG.md.
    return q.device.type == "cpu" and torch.is_grad_enabled() and q.requires_grad and q.dtype != torch.float64
