"""Learning to paint what was hidden."""

from torch import Tensor, nn

from ..data.loader import Batch
from ..nn import Reconstruction
from ..nn.masking import patchify
from .loss import Loss


class MaskedReconstruction:
    """The mean squared error of the pixels of hidden patches: (model, batch, step) -> Loss.

    He et al. (2022), "Masked autoencoders are scalable vision learners", section 3, "reconstruction target".

    Args:
        patch_size: (P_h, P_w) of the model.
        normalise: every patch of the target to mean 0 and deviation 1, which learns better features.
    """

    def __init__(self, patch_size: tuple[int, int], *, normalise: bool = True) -> None:
        self.patch_size = patch_size
        self.normalise = normalise

    def __call__(self, model: nn.Module, batch: Batch, step: int) -> Loss:
        return Loss(self.error(model(batch.pixels), batch.pixels))

    def error(self, output: Reconstruction, pixels: Tensor) -> Tensor:
        """A scalar: over the hidden patches only."""
        target = patchify(pixels, self.patch_size)
        if self.normalise:
            mean, variance = target.mean(dim=-1, keepdim=True), target.var(dim=-1, keepdim=True)
            target = (target - mean) / (variance + 1e-6).sqrt()
        errors = (output.patches - target).square().mean(dim=-1)
        return (errors * output.mask).sum() / output.mask.sum()
