"""Base classes of vision models: embed → encoder → head."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .heads.head import PooledHead
from .heads.outputs import ForwardOutputs
from .tokens import Tokens


class AnyVisionModel(nn.Module, ABC):
    """Base class of vision models: an embedding, an encoder and a head.

    `forward_features` takes whole images in every model; `forward` composes the three parts, and may hide patches.

    Args:
        embed: pixels -> Tokens.
        encoder: Tokens -> Tokens, or a tuple of Tokens for heads that take several levels.
        head: the encoder's output -> the model's output.
        config: the frozen dataclass that built the model; `config.build()` builds another.

    Attributes:
        rewrites: changes made after building, in order, see `vitrail.rewrite`; a checkpoint records them.
    """

    rewrites: tuple[Any, ...] = ()

    def __init__(self, embed: nn.Module, encoder: nn.Module, head: nn.Module, config: Any) -> None:
        super().__init__()
        self.embed = embed
        self.encoder = encoder
        self.head = head
        self.config = config

    def forward_features(self, pixels: Float[Tensor, "B C *size"]) -> Any:
        """Tokens after the encoder's norm, or a tuple of Tokens, one for each level that the head takes.

        Args:
            pixels: (B, C, H, W), or (B, C, T, H, W) of a video.
        """
        return self.encoder(self.embed(pixels))

    def embed_images(self, pixels: Float[Tensor, "B C *size"]) -> Float[Tensor, "B D"]:
        """One embedding for each image: the pooled vector before the head's last layer.

        Heads that do not pool (detection, segmentation, depth, reconstruction, several tasks) have no such vector: for
        them it is the mean over the patch tokens, of the last level if there are several.

        Args:
            pixels: (B, C, H, W), or (B, C, T, H, W) of a video.
        """
        tokens = self.forward_features(pixels)
        return self.head.embed(tokens) if isinstance(self.head, PooledHead) else mean_of_patches(tokens)

    @abstractmethod
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Pixels, and the other inputs of the config's task (see `fields.example_inputs`), -> the task's output."""


class VisionModel(AnyVisionModel):
    """A model that applies its head to the encoder's output."""

    def forward(self, pixels: Float[Tensor, "B C *size"]) -> Any:
        """(B, C, H, W), or (B, C, T, H, W), -> logits (B, num_classes), or the output of the config's task."""
        return self.head(self.forward_features(pixels))

    def forward_all(self, pixels: Float[Tensor, "B C *size"]) -> ForwardOutputs:
        """Logits, embedding and tokens in one forward pass; see `forward`, `embed_images` and `forward_features`."""
        tokens = self.forward_features(pixels)
        if isinstance(self.head, PooledHead):
            return ForwardOutputs(*self.head.forward_both(tokens), tokens)
        return ForwardOutputs(self.head(tokens), mean_of_patches(tokens), tokens)


def mean_of_patches(tokens: Tokens | tuple[Tokens, ...]) -> Float[Tensor, "images D"]:
    """Mean over the patch tokens of each image, of the last level if there are several."""
    last = tokens[-1] if isinstance(tokens, tuple) else tokens
    if not last.lengths:
        return last.patches.mean(dim=1)
    images = last.without_prefix()
    return torch.stack([image.mean(dim=0) for image in images.x[0].split(list(images.lengths))])
