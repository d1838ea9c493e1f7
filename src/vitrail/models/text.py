"""Text encoders of CLIP and SigLIP: shared fields, the encoder, and the initial weights."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..nn import (
    BiasedCosine,
    Encoder,
    JointProjection,
    LastToken,
    LearnedPositions,
    NoBias,
    ScaledCosine,
    TextEmbed,
    TextModel,
)
from ..task_spec import TaskSpec
from .fields import IMAGE_TEXT, ModelConfig, PositionedFields
from .parts import activation_of, vit_block
from .words import Activation


@dataclass(frozen=True, kw_only=True)
class TextFields(ModelConfig):
    """Fields of a model with an image and a text encoder, of which these are the text encoder's.

    Attributes:
        activation, norm_eps: activation, see `parts.ACTIVATIONS`, and epsilon of the layer norms.
        context_length, vocab_size: largest number of tokens of a text, and size of the vocabulary.
        text_dim, text_depth, text_heads, text_mlp_ratio: width, number of blocks, heads and MLP ratio.
    """

    __slots__ = ()

    task: TaskSpec = IMAGE_TEXT
    activation: Activation
    norm_eps: float = 1e-6
    context_length: int
    vocab_size: int
    text_dim: int
    text_depth: int = 12
    text_heads: int
    text_mlp_ratio: float = 4.0

    def example_inputs(self, batch: int = 1, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
        texts = torch.zeros(batch, self.context_length, dtype=torch.long, device=device)
        return (*super().example_inputs(batch, device), texts)


@dataclass(frozen=True, kw_only=True)
class DualFields(TextFields, PositionedFields):
    """Fields of a text encoder and of ViT's encoder for the images; `activation` and `norm_eps` are for both."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True)
class ShortTextFields(TextFields):
    """Fields of a short text encoder for the captions of a data set, in which every token attends to every token.

    Attributes:
        joint_dim: width of the space that images and texts are projected into.
        sigmoid: whether a logit is the scaled cosine plus a bias, whose sigmoid is the probability that image and text
            belong together (SigLIP); otherwise it has no bias (CLIP).
    """

    __slots__ = ()

    activation: Activation = "gelu"
    context_length: int = 16
    vocab_size: int = 512
    text_dim: int = 128
    text_depth: int = 3
    text_heads: int = 4
    text_mlp_ratio: float = 2.0
    joint_dim: int = 128
    sigmoid: bool = False

    def compare(self) -> nn.Module:
        """Unit vectors of images and texts -> logits."""
        return BiasedCosine(scale=10.0, bias=-10.0) if self.sigmoid else ScaledCosine(scale=1 / 0.07)

    def text(self) -> TextModel:
        """Build the text encoder, whose last token is projected."""
        embed = TextEmbed(self.vocab_size, self.text_dim, self.context_length)
        project = nn.Linear(self.text_dim, self.joint_dim)
        return TextModel(embed, text_encoder(self), LastToken(), project).apply(init_siglip)


def text_encoder(config: TextFields, *, bias: type[nn.Module] = NoBias) -> Encoder:
    """ViT's encoder for texts. `bias` is the module whose output each block adds to its scores, such as a mask."""
    blocks = [
        vit_block(
            config.text_dim,
            config.text_heads,
            config.text_mlp_ratio,
            norm_eps=config.norm_eps,
            activation=activation_of(config.activation),
            bias=bias(),
        )
        for _ in range(config.text_depth)
    ]
    return Encoder(blocks, norm=nn.LayerNorm(config.text_dim, eps=config.norm_eps))


def init_clip(encoder: Encoder) -> None:
    """Initialise a text encoder as in CLIP: the deeper it is, the smaller are the weights of its branches.

    After the official release (github.com/openai/CLIP, `CLIP.initialize_parameters`).
    """
    blocks: Any = encoder.blocks
    depth = len(blocks)
    for block in blocks:
        attention, mlp = block.attention.branch, block.mlp.branch
        dim = mlp.expand.in_features
        shrunk = dim**-0.5 * (2 * depth) ** -0.5
        for layer, std in (
            (attention.qkv, dim**-0.5),
            (attention.project, shrunk),
            (mlp.expand, (2 * dim) ** -0.5),
            (mlp.contract, shrunk),
        ):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)


def init_siglip(module: nn.Module) -> None:
    """Initialise a module as in SigLIP, for `apply`: uniform weights (Glorot and Bengio, 2010).

    Token embeddings, positions and the learned query have length 1 on average. After
    github.com/google-research/big_vision, `models/vit.py`.
    """
    if isinstance(module, nn.Linear):
        # A joint layer is initialised as three square ones.
        gain = 2**0.5 if isinstance(module, JointProjection) else 1.0
        nn.init.xavier_uniform_(module.weight, gain=gain)
        nn.init.normal_(module.bias, std=1e-6)
    elif isinstance(module, TextEmbed):
        for table in (module.words.weight, module.positions):
            nn.init.normal_(table, std=table.shape[-1] ** -0.5)
    elif isinstance(module, LearnedPositions):
        nn.init.normal_(module.weight, std=module.weight.shape[-1] ** -0.5)
