"""A model without its classifier: pixels -> one vector for each image."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ..nn import AnyVisionModel, DistilledHead, DualEncoder, Head, PooledDistilledHead, PrototypeHead, TaskHeads, Tokens
from ..task_spec import EMBEDDING


class EmbeddingModel(nn.Module):
    """Pooled vector before the classifier of any model: (B, C, H, W) -> (B, D).

    ** For a classifier, the input of its last linear layer. With two classifiers on two tokens (DeiT's distilled
    models), the mean of both tokens.
    * For a model with the task embedding, its output: the encoder's pooled vector, or an image encoder's projection
    into the space that it shares with texts. For a model of images and texts, that of its image encoder. The
    prototypes of DINO's pre-training head are classes, and not used.
    * For a model without a vector (detection, dense tasks, masked modelling), the mean over the patch tokens of its
    last level.

    Args:
        model: a model with `forward_features`, `head` and `config`; its modules and weights are shared.
    """

    def __init__(self, model: AnyVisionModel | DualEncoder) -> None:
        super().__init__()
        self.whole: AnyVisionModel = model.image if isinstance(model, DualEncoder) else model

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
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
