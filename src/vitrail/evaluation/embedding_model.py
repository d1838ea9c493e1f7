"""A model without its classifier: pixels -> one vector for each image."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ..models.fields import ModelConfig
from ..nn import (
    BaseVisionModel,
    ComposedModel,
    DistilledHead,
    DualEncoder,
    Head,
    PooledDistilledHead,
    PrototypeHead,
    TaskHeads,
    Tokens,
)
from ..task_spec import EMBEDDING


class EmbeddingModel(nn.Module):
    """Pooled vector before the classifier of any model: (B, C, H, W) -> (B, D).

    * A classifier gives the input of its classifier. With two classifiers on two tokens (DeiT's distilled models) it is
      the mean of both tokens.
    * A model whose task is embedding gives its output: the encoder's pooled vector, or an image tower's projection into
      the space that it shares with texts. A model of images and texts gives that of its image tower. The prototypes of
      DINO's pre-training head are classes, and not used.
    * A model without a vector (detection, dense tasks, masked modelling) gives the mean over the patch tokens of its
      last level.
    * A model of your own that is not put together of embedding, encoder and head gives its `embed_images`.

    Args:
        model: its modules and weights are shared.
    """

    def __init__(self, model: BaseVisionModel[ModelConfig]) -> None:
        super().__init__()
        self.whole: BaseVisionModel[Any] = model.image if isinstance(model, DualEncoder) else model

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
        if not isinstance(self.whole, ComposedModel):
            return self.whole.embed_images(pixels)
        return pooled(self.whole.head, self.whole.forward_features(pixels), self.whole.config.task == EMBEDDING)


def pooled(head: nn.Module, features: Any, projects: bool) -> Float[Tensor, "B D"]:
    """Pool features to one vector for each image, as `EmbeddingModel` describes.

    Args:
        head: the model's head.
        features: Tokens, or a tuple of levels.
        projects: whether the head's output is the embedding.
    """
    match head:
        case Head():
            vector = head.norm(head.pool(features))
            return head.classify(vector) if projects and not isinstance(head.classify, PrototypeHead) else vector
        case DistilledHead():
            return (features.x[:, 0] + features.x[:, 1]) / 2
        case PooledDistilledHead():
            return head.pool(features)
        case TaskHeads() if "classification" in head:
            return pooled(head["classification"], features, projects)
        case _:
            last: Tokens = features[-1] if isinstance(features, tuple) else features
            return last.patches.mean(dim=1)
