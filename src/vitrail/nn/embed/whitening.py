"""First layers that are not trained: filters that whiten small patches of the training images."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

_LEAST_VARIANCE = 5e-4
"""Added to the variances: directions in which images hardly vary would else be noise of variance 1."""

_PART = 64


class Whitening(nn.Conv2d):
    """Fixed filters whose outputs are uncorrelated with variance 1 over the training images, each with both signs.

    After Page (2018), "How to train your ResNet", part 8, and Jordan (2024), "94% on CIFAR-10 in 3.29 seconds on a
    single GPU": a network need not learn its first layer. Pixels (B, C, H, W) -> (B, 2 C k², H - k + 1,
    W - k + 1). Only the bias is trained. Before `fit`, the filters are a random orthonormal basis.

    Args:
        in_channels: C.
        kernel_size: k, the side of the patches.
    """

    def __init__(self, in_channels: int, kernel_size: int = 2) -> None:
        super().__init__(in_channels, 2 * in_channels * kernel_size**2, kernel_size)
        basis = nn.init.orthogonal_(torch.empty(self.out_channels // 2, self.weight[0].numel()))
        self._set(basis)
        self.weight.requires_grad_(False)
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    @torch.no_grad()
    def fit(self, pixels: Float[Tensor, "B C H W"]) -> None:
        """Set the filters by the principal components of the patches of these images, in float64."""
        count, total, products = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for part in pixels.split(_PART):  # patches are k² times as large as their images
            patches = F.unfold(part.double(), self.kernel_size).transpose(1, 2).flatten(0, 1)
            count, total, products = count + len(patches), total + patches.sum(0), products + patches.T @ patches
        covariance = products / count - torch.outer(total, total) / count**2
        variances, directions = torch.linalg.eigh(covariance)
        self._set((directions / (variances + _LEAST_VARIANCE).sqrt()).T)

    @torch.no_grad()
    def _set(self, rows: Float[Tensor, "half values"]) -> None:
        self.weight.copy_(torch.cat([rows, -rows]).view_as(self.weight))
