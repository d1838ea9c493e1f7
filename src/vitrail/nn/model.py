"""Base classes of vision models: `BaseVisionModel`, and embed → encoder → head."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from typing_extensions import TypeVar

from .heads.head import PooledHead
from .heads.multitask import TaskHeads
from .heads.outputs import ForwardOutputs
from .tokens import Tokens

# A bare `VisionModel` in an annotation leaves the config open, so that it fits wherever a model is taken. Covariant, as
# nothing replaces the config of a model: a VisionModel[ViTConfig] is a BaseVisionModel[ModelConfig].
ConfigT_co = TypeVar("ConfigT_co", default=Any, covariant=True)
# Type of a model's output, which nn.Module's own call leaves open: Any where only the base class is known, as from a
# variant's name, and by default a tensor for models whose class is known.
OutputT_co = TypeVar("OutputT_co", default=Any, covariant=True)
LogitsT_co = TypeVar("LogitsT_co", default=Tensor, covariant=True)


class BaseVisionModel(nn.Module, ABC, Generic[ConfigT_co, OutputT_co]):
    """Base class of all models that take pixels. Type arguments: the class of the config, the type of the output.

    Args:
        config: the frozen dataclass that built the model; `config.build()` builds another.

    Attributes:
        rewrites: changes made after building, in order, see `vitrail.rewrite`; a checkpoint records them.
    """

    rewrites: tuple[Any, ...] = ()

    def __init__(self, config: ConfigT_co) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward_features(self, pixels: Shaped[Tensor, "B C *size"]) -> Tokens | tuple[Tokens, ...]:
        """Tokens after the encoder's norm; of a `MultiLevelModel` a tuple with the Tokens of each level.

        Args:
            pixels: (B, C, H, W), or (B, C, T, H, W) of a video.
        """

    @abstractmethod
    def embed_images(self, pixels: Shaped[Tensor, "B C *size"]) -> Float[Tensor, "B D"]:
        """One embedding for each image.

        Args:
            pixels: (B, C, H, W), or (B, C, T, H, W) of a video.
        """

    @abstractmethod
    def forward(self, *args: Any, **kwargs: Any) -> OutputT_co:
        """Pixels, and the other inputs of the config's task (see `fields.example_inputs`), -> the task's output."""

    if TYPE_CHECKING:  # nn.Module declares its call as `Callable[..., Any]`

        def __call__(self, *args: Any, **kwargs: Any) -> OutputT_co: ...


class ComposedModel(BaseVisionModel[ConfigT_co, OutputT_co]):
    """Abstract base of models made of an embedding, an encoder and a head; `forward` composes the three.

    `forward_features` sees whole images in every model, also in those whose `forward` hides patches.

    Args:
        embed: pixels -> Tokens.
        encoder: Tokens -> Tokens, or a tuple of Tokens for heads that take several levels.
        head: the encoder's output -> the model's output.
        config: the frozen dataclass that built the model.
    """

    def __init__(self, embed: nn.Module, encoder: nn.Module, head: nn.Module, config: ConfigT_co) -> None:
        super().__init__(config)
        self.embed = embed
        self.encoder = encoder
        self.head = head

    def forward_features(self, pixels: Shaped[Tensor, "B C *size"]) -> Tokens | tuple[Tokens, ...]:
        """Tokens after the encoder's norm; of a `MultiLevelModel` a tuple with the Tokens of each level.

        Args:
            pixels: (B, C, H, W), or (B, C, T, H, W) of a video.
        """
        return self.encoder(self.embed(pixels))

    def embed_images(self, pixels: Shaped[Tensor, "B C *size"]) -> Float[Tensor, "B D"]:
        """One embedding for each image, not normalised.

        * A classifier gives the input of its last layer. With classifiers on two tokens (DeiT's distilled models) it is
          the mean of both tokens; of several tasks, the classification's.
        * A model with a `ProjectionHead` (CLIP's image encoder) gives the projection. The prototypes of DINO's
          pre-training head are classes.
        * Heads that do not pool (detection, dense tasks, masked modelling) have no such vector: for them it is the mean
          over the patch tokens, of the last level if there are several.

        Args:
            pixels: (B, C, H, W), or (B, C, T, H, W) of a video.
        """
        return self._embed_tokens(self.forward_features(pixels))

    def _embed_tokens(self, tokens: Tokens | tuple[Tokens, ...]) -> Float[Tensor, "images D"]:
        head: nn.Module = self.head
        if isinstance(head, TaskHeads) and "classification" in head:
            head = head["classification"]
        if isinstance(head, PooledHead) and isinstance(tokens, Tokens):
            return head.embed(tokens)
        return mean_of_patches(tokens)


class SequentialModel(ComposedModel[ConfigT_co, OutputT_co]):
    """Abstract base of models that apply embedding, encoder and head one after the other."""

    def forward(self, pixels: Shaped[Tensor, "B C *size"]) -> OutputT_co:
        """(B, C, H, W), or (B, C, T, H, W), -> logits (B, num_classes), or the output of the config's task."""
        return self.head(self.forward_features(pixels))

    if TYPE_CHECKING:

        def __call__(self, pixels: Tensor) -> OutputT_co: ...

    def forward_all(self, pixels: Shaped[Tensor, "B C *size"]) -> ForwardOutputs:
        """Logits, embedding and tokens in one forward pass; see `forward`, `embed_images` and `forward_features`."""
        tokens = self.forward_features(pixels)
        if isinstance(self.head, PooledHead) and isinstance(tokens, Tokens):
            return ForwardOutputs(*self.head.forward_both(tokens), tokens)
        return ForwardOutputs(self.head(tokens), self._embed_tokens(tokens), tokens)


class VisionModel(SequentialModel[ConfigT_co, LogitsT_co]):
    """A model that applies its head to the encoder's last tokens; a tensor unless its type names another output."""

    def forward_features(self, pixels: Shaped[Tensor, "B C *size"]) -> Tokens:
        """Tokens after the encoder's norm.

        Args:
            pixels: (B, C, H, W), or (B, C, T, H, W) of a video.
        """
        return self.encoder(self.embed(pixels))


class MultiLevelModel(SequentialModel[ConfigT_co, LogitsT_co]):
    """A model whose head takes the tokens of several blocks or stages; the encoder is `Levels`."""

    def forward_features(self, pixels: Shaped[Tensor, "B C H W"]) -> tuple[Tokens, ...]:
        """Tokens of each level that the head takes, in their order."""
        return self.encoder(self.embed(pixels))


def mean_of_patches(tokens: Tokens | tuple[Tokens, ...]) -> Float[Tensor, "images D"]:
    """Mean over the patch tokens of each image, of the last level if there are several."""
    last = tokens[-1] if isinstance(tokens, tuple) else tokens
    if not last.lengths:
        return last.mean
    images = last.without_prefix()
    return torch.stack([image.mean(dim=0) for image in images.x[0].split(list(images.lengths))])
