"""An image encoder of any family beside a short text transformer (Zhai et al., 2022, "LiT").

The vector of an image is the input of the encoder's classifier, projected into the joint space; the text encoder is
that of SigLIP (Zhai et al., 2023): every token attends to every token, and the last one is projected.
"""

from dataclasses import dataclass, replace

from torch import nn

from ..errors import VitrailError
from ..nn import (
    BiasedCosine,
    DualEncoder,
    FirstTwoTokens,
    LastToken,
    PooledHead,
    ProjectionHead,
    ScaledCosine,
    TextEmbed,
    TextModel,
    VisionModel,
    init_vit,
)
from .around_encoder import AroundEncoder, image_vector
from .fields import ModelConfig
from .text import TextFields, init_siglip, text_encoder
from .vit import SMALL, ViTConfig
from .words import Activation

_SMALL = ViTConfig(**SMALL, num_classes=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class LiTConfig(TextFields, AroundEncoder):
    """Image and text encoder, compared by their cosine.

    Attributes:
        joint_dim: width of the space that images and texts are projected into.
        sigmoid: whether a logit is the scaled cosine plus a bias, whose sigmoid is the probability that image and text
            belong together (SigLIP); otherwise it has no bias (CLIP).
    """

    encoder: ModelConfig = _SMALL
    activation: Activation = "gelu"
    context_length: int = 16
    vocab_size: int = 512
    text_dim: int = 128
    text_depth: int = 3
    text_heads: int = 4
    text_mlp_ratio: float = 2.0
    joint_dim: int = 128
    sigmoid: bool = False

    def build(self) -> DualEncoder["LiTConfig"]:
        compare = BiasedCosine(scale=10.0, bias=-10.0) if self.sigmoid else ScaledCosine(scale=1 / 0.07)
        return DualEncoder(self.image(), self.text(), compare, config=self)

    def image(self) -> VisionModel[ModelConfig]:
        """Build the image encoder, whose output is in the joint space.

        Raises:
            VitrailError: the encoder does not pool the tokens of one image to one vector.
        """
        model = self.encoder.build()
        head = model.get_submodule("head") if isinstance(model, VisionModel) else None
        if not isinstance(head, PooledHead) or self.encoder.frames is not None:
            raise VitrailError(
                f"{type(self.encoder).__name__} has no vector of an image, which is compared with that of a text: use "
                "the weights of an image classifier, such as vit_*, dinov2, swin or compact_*"
            )
        dim = image_vector(self.encoder).shape[1]
        parts = dict(head.named_children())
        pool = parts.get("pool") or FirstTwoTokens()  # a head on two tokens has no pool
        project = nn.Linear(dim, self.joint_dim).apply(init_vit)
        projection = ProjectionHead(pool, project, norm=parts.get("norm"))
        return VisionModel(
            model.get_submodule("embed"), model.get_submodule("encoder"), projection, config=self.encoder
        )

    def text(self) -> TextModel:
        """Build the text encoder."""
        embed = TextEmbed(self.vocab_size, self.text_dim, self.context_length)
        project = nn.Linear(self.text_dim, self.joint_dim)
        return TextModel(embed, text_encoder(self), LastToken(), project).apply(init_siglip)

    def densest(self) -> "LiTConfig":
        return replace(self, encoder=self.encoder.densest())


VARIANTS = {"lit_vit_small_patch16_224": LiTConfig(), "lit_sigmoid_vit_small_patch16_224": LiTConfig(sigmoid=True)}
