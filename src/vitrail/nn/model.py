"""The whole truth about every architecture in the library."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn


class VisionModel(nn.Module):
    """embed, encoder, head. `config` is the frozen dataclass that built it: `config.build()` makes another."""

    def __init__(self, embed: nn.Module, encoder: nn.Module, head: nn.Module, config: Any) -> None:
        super().__init__()
        self.embed = embed
        self.encoder = encoder
        self.head = head
        self.config = config

    def forward_features(self, pixels: Float[Tensor, "B C *size"]) -> Any:
        """(B, C, H, W), or (B, C, T, H, W) of a video, -> Tokens, after the encoder's norm.

        One for each level where the head looks at several.
        """
        return self.encoder(self.embed(pixels))

    def forward(self, pixels: Float[Tensor, "B C *size"]) -> Any:
        """(B, C, H, W), or a video, -> logits (B, num_classes), or what else the config's task asks for."""
        return self.head(self.forward_features(pixels))
