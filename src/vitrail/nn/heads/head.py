"""Pools over tokens, and classification heads."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..tokens import Tokens
from .outputs import DistilledLogits
from .reading import CLASS_AND_PATCHES, CLASS_TOKEN, PATCHES, TokensRead


class FirstToken(nn.Module):
    """Class token of each image: Tokens -> (B, D)."""

    reads = CLASS_TOKEN

    def forward(self, tokens: Tokens) -> Float[Tensor, "images D"]:
        return tokens.prefix_tokens[:, 0]


class MeanPool(nn.Module):
    """Mean over the patch tokens, a merged one counted once for each of its cells: Tokens -> (B, D)."""

    reads = PATCHES

    def forward(self, tokens: Tokens) -> Float[Tensor, "B D"]:
        return tokens.mean


class FirstTwoTokens(nn.Module):
    """Mean of class and distillation token: Tokens -> (B, D)."""

    reads = TokensRead((0, 1))

    def forward(self, tokens: Tokens) -> Float[Tensor, "B D"]:
        return (tokens.x[:, 0] + tokens.x[:, 1]) / 2


class ClassAndMean(nn.Module):
    """Class token and mean over the patch tokens, as in `MeanPool`, concatenated: Tokens -> (B, 2 D).

    Oquab et al. (2024), "DINOv2".
    """

    reads = CLASS_AND_PATCHES

    def forward(self, tokens: Tokens) -> Float[Tensor, "B D2"]:
        return torch.cat([tokens.x[:, 0], tokens.mean], dim=1)


class PooledHead(nn.Module, ABC):
    """Base class of heads that pool the tokens to one embedding for each image: Tokens -> (B, num_classes)."""

    @abstractmethod
    def embed(self, tokens: Tokens) -> Float[Tensor, "images D"]:
        """Return the embedding of each image: the input of the classifier, or the output if there is none."""

    def forward_both(self, tokens: Tokens) -> tuple[Any, Float[Tensor, "images D"]]:
        """Return the head's output and the embedding."""
        return self(tokens), self.embed(tokens)


class Head(PooledHead):
    """Pool, norm, classify: Tokens -> (B, num_classes). Without `classify`, the output is the embedding.

    Args:
        pool: Tokens -> (B, D).
        classify: (B, D) -> (B, num_classes).
        norm: (B, D) -> (B, D).
    """

    def __init__(self, pool: nn.Module, classify: nn.Module | None = None, *, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.pool = pool
        self.norm = norm or nn.Identity()
        self.classify = classify or nn.Identity()

    def forward(self, tokens: Tokens) -> Float[Tensor, "images K"]:
        return self.classify(self.embed(tokens))

    def embed(self, tokens: Tokens) -> Float[Tensor, "images D"]:
        """Return the pooled tokens after the norm."""
        return self.norm(self.pool(tokens))

    def forward_both(self, tokens: Tokens) -> tuple[Float[Tensor, "images K"], Float[Tensor, "images D"]]:
        """Return the logits and the embedding."""
        embedding = self.embed(tokens)
        return self.classify(embedding), embedding


class ProjectionHead(PooledHead):
    """Pool, norm, project to an embedding, as of CLIP's image encoder: Tokens -> (B, E). The output is the embedding.

    Args:
        pool: Tokens -> (B, D).
        classify: (B, D) -> (B, E); named as in `Head`, so that the weights of both have the same names.
        norm: (B, D) -> (B, D).
    """

    def __init__(self, pool: nn.Module, classify: nn.Module, *, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.pool = pool
        self.norm = norm or nn.Identity()
        self.classify = classify

    def forward(self, tokens: Tokens) -> Float[Tensor, "images E"]:
        return self.embed(tokens)

    def embed(self, tokens: Tokens) -> Float[Tensor, "images E"]:
        """Return the projection of the pooled tokens after the norm."""
        return self.classify(self.norm(self.pool(tokens)))

    def forward_both(self, tokens: Tokens) -> tuple[Float[Tensor, "images E"], Float[Tensor, "images E"]]:
        """Return the projection twice."""
        embedding = self.embed(tokens)
        return embedding, embedding


class PatchHead(nn.Module):
    """A classifier on every patch: Tokens -> (B, N, num_classes)."""

    reads = PATCHES

    def __init__(self, classify: nn.Module) -> None:
        super().__init__()
        self.classify = classify

    def forward(self, tokens: Tokens) -> Float[Tensor, "B N K"]:
        return self.classify(tokens.patches)


class MLPHead(nn.Sequential):
    """A classifier with one hidden layer: (B, D) -> (B, num_classes).

    With tanh it is ViT's head in pre-training (Dosovitskiy et al., 2021, section 3.1).
    """

    def __init__(
        self, dim: int, hidden_dim: int, num_classes: int, *, activation: Callable[[], nn.Module] = nn.Tanh
    ) -> None:
        super().__init__()
        self.add_module("expand", nn.Linear(dim, hidden_dim))
        self.add_module("activation", activation())
        self.add_module("classify", nn.Linear(hidden_dim, num_classes))


class DistilledHead(PooledHead):
    """One classifier on the class token, one on the distillation token (Touvron et al., 2021, "DeiT", section 3)."""

    reads = TokensRead((0, 1))

    def __init__(self, classify: nn.Module, distill: nn.Module) -> None:
        super().__init__()
        self.classify = classify
        self.distill = distill

    def forward(self, tokens: Tokens) -> DistilledLogits:
        return DistilledLogits(self.classify(tokens.x[:, 0]), self.distill(tokens.x[:, 1]))

    def embed(self, tokens: Tokens) -> Float[Tensor, "B D"]:
        """Return the mean of class and distillation token."""
        return (tokens.x[:, 0] + tokens.x[:, 1]) / 2


class PooledDistilledHead(PooledHead):
    """Two classifiers on the same pooled tokens, one of which learns from a teacher (Graham et al., 2021, "LeViT")."""

    def __init__(self, pool: nn.Module, classify: nn.Module, distill: nn.Module) -> None:
        super().__init__()
        self.pool = pool
        self.classify = classify
        self.distill = distill

    def forward(self, tokens: Tokens) -> DistilledLogits:
        pooled = self.pool(tokens)
        return DistilledLogits(self.classify(pooled), self.distill(pooled))

    def embed(self, tokens: Tokens) -> Float[Tensor, "B D"]:
        """Return the pooled tokens."""
        return self.pool(tokens)
