"""The whole truth about every architecture in the library."""

from abc import ABC, abstractmethod
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn


class AnyVisionModel(nn.Module, ABC):
    """embed, encoder, head. `config` is the frozen dataclass that built it: `config.build()` makes another.

    All make features of whole pictures in the same way; each says in `forward` what its three parts do together.

    Attributes:
        rewrites: changes that were made after building, in order, see `vitrail.rewrite`; a checkpoint records them.
    """

    rewrites: tuple[Any, ...] = ()

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

    @abstractmethod
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Pixels, and what else the config's task takes (see `fields.example_inputs`), -> what the task asks for."""


class VisionModel(AnyVisionModel):
    """The head looks at what the encoder makes of a picture."""

    def forward(self, pixels: Float[Tensor, "B C *size"]) -> Any:
        """(B, C, H, W), or a video, -> logits (B, num_classes), or what else the config's task asks for."""
        return self.head(self.forward_features(pixels))
