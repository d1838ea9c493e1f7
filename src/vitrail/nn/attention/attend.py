"""Scaled dot-product attention, softmax(q kᵀ / √d + bias) v, with a choice of kernels."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, fx, nn

Kernel = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""(q (B, h, N, d), k (B, h, M, d), v (B, h, M, e), bias (..., N, M) or None) -> (B, h, N, e).

Those of `KERNELS` also take `scale`, the factor of the scores, 1 / √d by default.
"""


def fused_kernel(
    q: Float[Tensor, "B h N d"],
    k: Float[Tensor, "B h M d"],
    v: Float[Tensor, "B h M e"],
    bias: Float[Tensor, "... #N #M"] | None = None,
    scale: float | None = None,
) -> Float[Tensor, "B h N e"]:
    """PyTorch's fused attention, which stores no weights for the backward pass: memory grows with N, not N²."""
    mask = None if bias is None else _with_four_dimensions(bias)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


def explicit_kernel(
    q: Float[Tensor, "B h N d"],
    k: Float[Tensor, "B h M d"],
    v: Float[Tensor, "B h M e"],
    bias: Float[Tensor, "... #N #M"] | None = None,
    scale: float | None = None,
) -> Float[Tensor, "B h N e"]:
    """Two matrix products with a softmax in between."""
    return attention_weights(q, k, bias, scale) @ v


def automatic_kernel(
    q: Float[Tensor, "B h N d"],
    k: Float[Tensor, "B h M d"],
    v: Float[Tensor, "B h M e"],
    bias: Float[Tensor, "... #N #M"] | None = None,
    scale: float | None = None,
) -> Float[Tensor, "B h N e"]:
    """The faster of the fused and the explicit kernel for the device and the mode of autograd."""
    return _automatic(q, k, v, bias, scale)


KERNELS: dict[str, Callable[..., Tensor]] = {
    "auto": automatic_kernel,
    "fused": fused_kernel,
    "explicit": explicit_kernel,
}
"""Name -> kernel. All compute the same, up to rounding."""


class AnyAttend(nn.Module, ABC):
    """Base class of modules (q, k, v, bias) -> output, whose inputs can be observed."""

    @abstractmethod
    def weights(
        self,
        q: Float[Tensor, "B h N d"],
        k: Float[Tensor, "B h M d"],
        bias: Float[Tensor, "... #N #M"] | None = None,
        heads: list[int] | None = None,
    ) -> Float[Tensor, "B _ N M"]:
        """Attention weights of each query over the keys, for all heads or some."""


class KernelAttend(AnyAttend):
    """Base class of softmax attention with a `Kernel`.

    Args:
        kernel: one of `KERNELS`, or another function of the same arguments.
    """

    def __init__(self, kernel: Kernel = automatic_kernel) -> None:
        super().__init__()
        self.kernel = kernel

    def weights(
        self,
        q: Float[Tensor, "B h N d"],
        k: Float[Tensor, "B h M d"],
        bias: Float[Tensor, "... #N #M"] | None = None,
        heads: list[int] | None = None,
    ) -> Float[Tensor, "B _ N M"]:
        """Attention weights of each query over the keys, for all heads or some; every row sums to 1."""
        if heads is None:
            return attention_weights(q, k, bias)
        return attention_weights(q[:, heads], k[:, heads], bias if bias is None else _of_heads(bias, q)[:, heads])


class Attend(KernelAttend):
    """Scaled dot-product attention (Vaswani et al., 2017, section 3.2.1).

    A submodule of every attention, so that its inputs (queries and keys after norm and rotation, and the bias) can be
    observed.

    Args:
        kernel: one of `KERNELS`, or another function of the same arguments.
    """

    def forward(
        self,
        q: Float[Tensor, "B h N d"],
        k: Float[Tensor, "B h M d"],
        v: Float[Tensor, "B h M e"],
        bias: Float[Tensor, "... #N #M"] | None = None,
    ) -> Float[Tensor, "B h N e"]:
        return self.kernel(q, k, v, bias)


class UnscaledAttend(KernelAttend):
    """Attention with queries that are divided by √d already: softmax(q kᵀ + bias) v."""

    def forward(
        self,
        q: Float[Tensor, "B h N d"],
        k: Float[Tensor, "B h M d"],
        v: Float[Tensor, "B h M e"],
        bias: Float[Tensor, "... #N #M"] | None = None,
    ) -> Float[Tensor, "B h N e"]:
        for kernel in KERNELS.values():
            if self.kernel is kernel:
                return kernel(q, k, v, bias, scale=1.0)
        return self.kernel(q * q.shape[-1] ** 0.5, k, v, bias)  # undoes the division in a kernel of another kind

    def weights(
        self,
        q: Float[Tensor, "B h N d"],
        k: Float[Tensor, "B h M d"],
        bias: Float[Tensor, "... #N #M"] | None = None,
        heads: list[int] | None = None,
    ) -> Float[Tensor, "B _ N M"]:
        """Attention weights of each query over the keys, for all heads or some; every row sums to 1."""
        return super().weights(q * q.shape[-1] ** 0.5, k, bias, heads)


class HeadMixing(nn.Linear):
    """A linear layer over the heads, for each query and key: (B, h, N, M) -> (B, h, N, M), in the input's dtype."""

    def __init__(self, num_heads: int) -> None:
        super().__init__(num_heads, num_heads)

    def forward(self, maps: Float[Tensor, "B h N M"]) -> Float[Tensor, "B h N M"]:
        mixed = F.linear(maps.movedim(1, -1), self.weight.to(maps.dtype), self.bias.to(maps.dtype))
        return mixed.movedim(-1, 1)


class TalkingHeadsAttend(AnyAttend):
    """Attention whose heads are mixed before and after softmax (Shazeer et al., 2020, "Talking-heads attention").

    Args:
        num_heads: heads h.
    """

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.mix_scores = HeadMixing(num_heads)
        self.mix_weights = HeadMixing(num_heads)

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
        """Attention weights after both mixings; rows need not sum to 1."""
        scores = self.mix_scores(attention_scores(q, k, bias))
        weights = self.mix_weights(scores.softmax(dim=-1))
        return weights if heads is None else weights[:, heads]


ATTENDS = (AnyAttend,)


def set_attention_kernel(model: nn.Module, kernel: Kernel) -> None:
    """Set the kernel of every softmax attention in a built model, in place.

    Args:
        model: any module with `Attend` inside.
        kernel: one of `KERNELS`, or another function of the same arguments.
    """
    for module in model.modules():
        if isinstance(module, KernelAttend):
            module.kernel = kernel


def attention_scores(
    q: Float[Tensor, "B h N d"],
    k: Float[Tensor, "B h M d"],
    bias: Float[Tensor, "... #N #M"] | None = None,
    scale: float | None = None,
) -> Float[Tensor, "B h N M"]:
    """Attention scores, q kᵀ · scale + bias; the scale is 1 / √d by default."""
    scores = (q * (q.shape[-1] ** -0.5 if scale is None else scale)) @ k.transpose(-2, -1)
    return scores if bias is None else scores + bias


def attention_weights(
    q: Float[Tensor, "B h N d"],
    k: Float[Tensor, "B h M d"],
    bias: Float[Tensor, "... #N #M"] | None = None,
    scale: float | None = None,
) -> Float[Tensor, "B h N M"]:
    """Attention weights, softmax(q kᵀ · scale + bias); every row sums to 1. The scale is 1 / √d by default."""
    return attention_scores(q, k, bias, scale).softmax(dim=-1)


# torch.fx cannot trace code that depends on devices and numbers of dimensions: these calls are leaves of its graphs.


@fx.wrap
def _automatic(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float | None = None) -> Tensor:
    # PyTorch's fused kernel on a CPU has a slow backward in reduced precision (6 times slower than two batched
    # products, measured on AMX); forward alone, and everywhere else, the fused kernel wins. See LOG.md.
    on_cpu = q.device.type == "cpu" and q.dtype != torch.float64
    explicit = on_cpu and torch.is_grad_enabled() and q.requires_grad
    return (explicit_kernel if explicit else fused_kernel)(q, k, v, bias, scale)


@fx.wrap
def _with_four_dimensions(bias: Tensor) -> Tensor:
    return bias[(None,) * (4 - bias.ndim)] if bias.ndim < 4 else bias  # the fused kernels need 4 dimensions


def _of_heads(bias: Float[Tensor, "... #N #M"], q: Float[Tensor, "B h N d"]) -> Float[Tensor, "B h #N #M"]:
    return bias.expand(q.shape[0], q.shape[1], *bias.shape[-2:])
