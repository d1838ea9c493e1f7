"""An image encoder of any family beside a short text transformer (Zhai et al., 2022, "LiT").

The vector of an image is the input of the encoder's classifier, projected into the joint space; the text encoder is
that of SigLIP (Zhai et al., 2023): every token attends to every token, and the last one is projected.
"""

from dataclasses import dataclass

from torch import nn

from ..errors import VitrailError
from ..nn import DistilledHead, DualEncoder, FirstTwoTokens, PooledHead, ProjectionHead, VisionModel, init_vit
from .around_encoder import AroundEncoder, image_vector
from .fields import ModelConfig
from .text import ShortTextFields
from .vit import SMALL, ViTConfig

_SMALL = ViTConfig(**SMALL, num_classes=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class LiTConfig(ShortTextFields, AroundEncoder):
    """Image and text encoder, compared by their cosine."""

    encoder: ModelConfig = _SMALL

    def build(self) -> DualEncoder["LiTConfig"]:
        return DualEncoder(self.image(), self.text(), self.compare(), config=self)

    def image(self) -> VisionModel[ModelConfig]:
        """Build the image encoder, whose output is in the joint space.

        Raises:
            VitrailError: the encoder does not pool the tokens of one image to one vector.
        """
        model = self.encoder.build()
        head = model.get_submodule("head") if isinstance(model, VisionModel) else None
        config = self.encoder
        if not isinstance(head, PooledHead) or config.frames is not None or config.densest() != config:
            raise without_vector(config)
        parts = dict(head.named_children())
        pool = FirstTwoTokens() if isinstance(head, DistilledHead) else parts.get("pool")
        if pool is None:
            raise without_vector(config)
        dim = image_vector(config).shape[1]
        project = nn.Linear(dim, self.joint_dim).apply(init_vit)
        projection = ProjectionHead(pool, project, norm=parts.get("norm"))
        return VisionModel(
            model.get_submodule("embed"), model.get_submodule("encoder"), projection, config=self.encoder
        )


def without_vector(config: ModelConfig) -> VitrailError:
    """Error for an encoder that cannot be put beside a text encoder."""
    return VitrailError(
        f"{type(config).__name__} has no vector of an image, of equal patches, which is compared with that of a text: "
        "use the weights of an image classifier, such as vit_*, dinov2, swin or compact_*, or of a pre-training by mae"
    )


VARIANTS = {"lit_vit_small_patch16_224": LiTConfig(), "lit_sigmoid_vit_small_patch16_224": LiTConfig(sigmoid=True)}
