"""Linear attention: the weights factorise, so that cost and memory grow with N, not N²."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .attend import AnyAttend
from .multi_head import MultiHeadAttention


class LinearAttention(MultiHeadAttention):
    """Multi-head attention with φ(q) φ(k)ᵀ in place of exp(q kᵀ / √d). Tokens -> Tokens.

    Cost and memory grow with N, not with N². The parameters are those of `MultiHeadAttention`, under the same names.

    Args:
        dim, num_heads, dropout: as in `MultiHeadAttention`.
        features: φ, (q, k) -> (φ(q), φ(k)): `EluFeatures`, the default, or `RandomFeatures`.
    """

    def __init__(self, dim: int, num_heads: int, features: nn.Module | None = None, *, dropout: float = 0.0) -> None:
        super().__init__(dim, num_heads, attend=LinearAttend(features or EluFeatures()), dropout=dropout)


class LinearAttend(AnyAttend):
    """φ(q) (φ(k)ᵀ v) / (φ(q) φ(k)ᵀ 1) (Katharopoulos et al., 2020, "Transformers are RNNs", equation 5).

    Products and sums over all tokens are in float32 or better, also under autocast, since they span many magnitudes.
    """

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(
        self,
        q: Float[Tensor, "B h N d"],
        k: Float[Tensor, "B h M d"],
        v: Float[Tensor, "B h M e"],
        bias: Float[Tensor, "... #N #M"] | None = None,
    ) -> Float[Tensor, "B h N e"]:
        if bias is not None:
            raise ValueError("linear attention takes no bias or mask, since it has no scores: use MultiHeadAttention")
        with _no_autocast(q.device.type):
            q, k = self.features(_precise(q), _precise(k))
            total = q @ k.sum(dim=2).unsqueeze(3)
            return (q @ (k.transpose(2, 3) @ _precise(v)) / total).to(v.dtype)

    def weights(
        self,
        q: Float[Tensor, "B h N d"],
        k: Float[Tensor, "B h M d"],
        bias: Float[Tensor, "... #N #M"] | None = None,
        heads: list[int] | None = None,
    ) -> Float[Tensor, "B _ N M"]:
        """Attention weights, which `forward` never forms; every row sums to 1."""
        q, k = self.features(q, k)
        scores = q @ k.transpose(2, 3)
        weights = scores / scores.sum(dim=3, keepdim=True)
        return weights if heads is None else weights[:, heads]


class EluFeatures(nn.Module):
    """φ(x) = elu(x) + 1, positive and without parameters (Katharopoulos et al., 2020, equation 7)."""

    def forward(
        self, q: Float[Tensor, "B h N d"], k: Float[Tensor, "B h M d"]
    ) -> tuple[Float[Tensor, "B h N d"], Float[Tensor, "B h M d"]]:
        return F.elu(q) + 1, F.elu(k) + 1


class RandomFeatures(nn.Module):
    """Positive orthogonal random features, whose products estimate exp(q kᵀ / √d): FAVOR+.

    φ(x) = exp(ω x - |x|² / 2) / √m with x scaled by d^-¼, for m random ω, drawn once and stored with the weights
    (Choromanski et al., 2021, "Rethinking attention with Performers", lemma 1 and section 2.4).

    Args:
        head_dim: width d of a head.
        count: number of features m, with which the error falls. By default d ln d, rounded down.
        epsilon: added to every feature, so that the sum over the keys is never zero; the largest feature is 1.
    """

    def __init__(self, head_dim: int, count: int | None = None, *, epsilon: float = 1e-6) -> None:
        super().__init__()
        count = count or max(1, int(head_dim * math.log(head_dim)))
        self.register_buffer("directions", orthogonal_directions(count, head_dim))
        self.epsilon = epsilon

    def forward(
        self, q: Float[Tensor, "B h N d"], k: Float[Tensor, "B h M d"]
    ) -> tuple[Float[Tensor, "B h N m"], Float[Tensor, "B h M m"]]:
        q, k = self._exponents(q), self._exponents(k)
        # The subtracted maxima, one for each query and one for all keys, cancel in the weights; so does 1 / √m.
        q = q - q.detach().amax(dim=3, keepdim=True)
        k = k - k.detach().amax(dim=(2, 3), keepdim=True)
        return q.exp() + self.epsilon, k.exp() + self.epsilon

    def _exponents(self, x: Float[Tensor, "B h N d"]) -> Float[Tensor, "B h N m"]:
        directions: Tensor = self.directions  # type: ignore[assignment]
        x = x * x.shape[3] ** -0.25
        return x @ directions.to(x.dtype).T - x.square().sum(dim=3, keepdim=True) / 2


def orthogonal_directions(count: int, dim: int) -> Float[Tensor, "m d"]:
    """Random rows with the lengths of standard normal vectors, orthogonal in blocks of `dim`."""
    blocks = [nn.init.orthogonal_(torch.empty(dim, dim)) for _ in range(math.ceil(count / dim))]
    return torch.cat(blocks)[:count] * torch.randn(count, dim).norm(dim=1, keepdim=True)


def _no_autocast(device: str) -> torch.autocast:
    # The meta device has no autocast.
    return torch.autocast("cpu" if device == "meta" else device, enabled=False)


def _precise(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
