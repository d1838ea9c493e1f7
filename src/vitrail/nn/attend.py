"""softmax(q kᵀ / √d + bias) v, in one place."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Attend(nn.Module):
    """Scaled dot-product attention (Vaswani et al., 2017, section 3.2.1).

    A submodule of every attention, so that what it is given (queries and keys after norm and rotation, and the
    bias) can be observed at its door. It chooses the faster of two exact paths by device and mode.
    """

    def forward(
        self,
        q: Float[Tensor, "B h N d"],
        k: Float[Tensor, "B h M d"],
        v: Float[Tensor, "B h M e"],
        bias: Float[Tensor, "... #N #M"] | None = None,
    ) -> Float[Tensor, "B h N e"]:
        if _explicit_is_faster(q):
            return attention_weights(q, k, bias) @ v
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


def _explicit_is_faster(q: Tensor) -> bool:
    # PyTorch's fused kernel on a CPU has a slow backward in reduced precision (6 times slower than two batched
    # products, measured on AMX); forward alone, and everywhere else, the fused kernel wins. See LOG.md.
    return q.device.type == "cpu" and torch.is_grad_enabled() and q.requires_grad and q.dtype != torch.float64
