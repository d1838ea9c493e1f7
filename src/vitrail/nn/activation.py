"""Activations that torch does not have."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class QuickGELU(nn.Module):
    """x · sigmoid(1.702 x), an approximation of GELU (Hendrycks and Gimpel, 2016, section 2) in OpenAI's CLIP."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return x * torch.sigmoid(1.702 * x)
