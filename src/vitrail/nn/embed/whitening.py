"""First layers that are not trained: filters that whiten small patches of the training images."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

_LEAST_VARIANCE = 5e-4
"""Added to the variances: directions in which images hardly vary would else be noise of variance 1."""

_PART = 64
_MOST_PATCHES = 2**20
"""Images whose patches are in memory at once: they are k² times as large as the images, and in float64."""


class PatchMoments:
    """Sums over the patches of images in float64, from which `Whitening.fit` computes its filters.

    Images can be added in any number of parts, so that they need not be in memory together.

    Args:
        kernel_size: (height, width) of the patches.
    """

    def __init__(self, kernel_size: tuple[int, int]) -> None:
        self.kernel_size = kernel_size
        self.count = 0
        self.total = torch.zeros((), dtype=torch.float64)
        self.products = torch.zeros((), dtype=torch.float64)

    @torch.no_grad()
    def add(self, pixels: Float[Tensor, "B C H W"]) -> None:
        """Add the patches of images."""
        each = max(1, (pixels.shape[2] - self.kernel_size[0] + 1) * (pixels.shape[3] - self.kernel_size[1] + 1))
        for part in pixels.split(min(_PART, max(1, _MOST_PATCHES // each))):
            patches = F.unfold(part.double(), self.kernel_size).transpose(1, 2).flatten(0, 1)
            self.count += len(patches)
            self.total = self.total + patches.sum(0)
            self.products = self.products + patches.T @ patches

    def covariance(self) -> Float[Tensor, "values values"]:
        """Covariance of the values of a patch, C k² of them."""
        return self.products / self.count - torch.outer(self.total, self.total) / self.count**2


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
        if not self.weight.is_meta:  # where there are no values, PyTorch imports its compiler to change their signs
            self._set(nn.init.orthogonal_(torch.empty(self.out_channels // 2, self.weight[0].numel())))
        self.weight.requires_grad_(False)
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]

    def moments(self) -> PatchMoments:
        """Empty sums for patches of this layer's size."""
        height, width = self.kernel_size
        return PatchMoments((height, width))

    @torch.no_grad()
    def fit(self, images: Float[Tensor, "B C H W"] | PatchMoments) -> None:
        """Set the filters by the principal components of the patches of images, in float64.

        Args:
            images: pixels, or the sums of many, see `moments`.
        """
        if isinstance(images, PatchMoments):
            found = images
        else:
            found = self.moments()
            found.add(images)
        variances, directions = torch.linalg.eigh(found.covariance())
        self._set((directions / (variances + _LEAST_VARIANCE).sqrt()).T)

    @torch.no_grad()
    def _set(self, rows: Float[Tensor, "half values"]) -> None:
        self.weight.copy_(torch.cat([rows, -rows]).view_as(self.weight))
