"""Activations that torch does not have."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class QuickGELU(nn.Module):
    """x · sigmoid(1.702 x), the cheap stand-in for GELU (Hendrycks and Gimpel, 2016, section 2) of OpenAI's CLIP."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return x * torch.sigmoid(1.702 * x)
