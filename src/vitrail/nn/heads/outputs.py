"""Output types of models with more than one tensor."""

from dataclasses import dataclass, fields
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.utils import _pytree as pytree

from ..tokens import Tokens


@dataclass(frozen=True, slots=True)
class ForwardOutputs:
    """The outputs of one forward pass, see `VisionModel.forward_all`.

    Attributes:
        logits: the output of `forward`: (B, num_classes) of a classifier.
        embedding: (B, D), the output of `embed_images`.
        tokens: Tokens or a tuple of Tokens, the output of `forward_features`.
    """

    logits: Any
    embedding: Float[Tensor, "B D"]
    tokens: Tokens | tuple[Tokens, ...]


pytree.register_dataclass(ForwardOutputs, serialized_type_name="vitrail.ForwardOutputs")


@dataclass(frozen=True, slots=True)
class DistilledLogits:
    """Logits of a head with two classifiers, of which one learns from labels and the other from a teacher.

    Attributes:
        classes: (B, K), of the classifier that learns from labels.
        distilled: (B, K), of the one that learns from a teacher.
    """

    classes: Float[Tensor, "B K"]
    distilled: Float[Tensor, "B K"]

    @property
    def mean(self) -> Float[Tensor, "B K"]:
        """Mean of both, from which classes are predicted (Touvron et al., 2021, "DeiT", section 3)."""
        return (self.classes + self.distilled) / 2


pytree.register_dataclass(DistilledLogits, serialized_type_name="vitrail.DistilledLogits")


def joined(output: Any) -> Any:
    """An output with its two logits replaced by their mean; other outputs unchanged."""
    return output.mean if isinstance(output, DistilledLogits) else output


@dataclass(frozen=True, slots=True)
class Detections:
    """Detected objects, one for each query.

    Attributes:
        logits: (B, Q, K + 1); the last class is "no object".
        boxes: (B, Q, 4) as centre x, centre y, width, height, as fractions of the image's sides.
    """

    logits: Float[Tensor, "B Q K"]
    boxes: Float[Tensor, "B Q 4"]


pytree.register_dataclass(Detections, serialized_type_name="vitrail.Detections")


@dataclass(frozen=True, slots=True)
class DenseDetections:
    """Detected objects, one for each point of a grid or of several; overlapping ones are suppressed afterwards.

    Attributes:
        logits: (B, Q, K), of independent probabilities (sigmoid) of the classes; all are low where there is no object.
        boxes: (B, Q, 4) as centre x, centre y, width, height, as fractions of the image's sides; they may exceed it.
        points: (B, Q, 2), x and y of the points, as fractions.
    """

    logits: Float[Tensor, "B Q K"]
    boxes: Float[Tensor, "B Q 4"]
    points: Float[Tensor, "B Q 2"]


pytree.register_dataclass(DenseDetections, serialized_type_name="vitrail.DenseDetections")


@dataclass(frozen=True, slots=True)
class TaskOutputs:
    """Outputs of a model for several tasks; None for tasks that it does not have.

    Attributes:
        classification: logits of the image, (B, K).
        detection: objects in the image.
        segmentation: logits of every pixel, (B, K, H, W).
        depth: depth of every pixel, (B, H, W).
    """

    classification: Float[Tensor, "B K"] | None = None
    detection: Detections | None = None
    segmentation: Float[Tensor, "B K H W"] | None = None
    depth: Float[Tensor, "B H W"] | None = None


def _flatten(outputs: TaskOutputs) -> tuple[list[Any], tuple[str, ...]]:
    names = tuple(field.name for field in fields(outputs) if getattr(outputs, field.name) is not None)
    return [getattr(outputs, name) for name in names], names


def _unflatten(leaves: Any, names: tuple[str, ...]) -> TaskOutputs:
    return TaskOutputs(**dict(zip(names, leaves, strict=True)))


pytree.register_pytree_node(
    TaskOutputs,
    _flatten,
    _unflatten,
    serialized_type_name="vitrail.TaskOutputs",
    to_dumpable_context=list,
    from_dumpable_context=tuple,
)
