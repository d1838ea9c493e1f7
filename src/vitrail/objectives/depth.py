"""The objective of depth: the scale-invariant error of the logarithm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from ..checkpoint.document import Stored
from ..data.loader import Views
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel
from ..tasks.depth import Depth
from ..tasks.maps import resized_map
from ..tasks.task import Task
from .augmentation import Augmentation
from .dense_head import with_dense_head
from .objective import Labels, Loss, ObjectiveConfig, OutputObjective
from .segmentation import MapView, dense_size


class DepthLoss(OutputObjective):
    """Scale-invariant error of the logarithm of the depth.

    Args:
        model: pixels -> inverse depths (B, h, w).
        task: converts outputs to depths.
        scale_invariance: see `scale_invariant_error`.
    """

    def __init__(self, model: BaseVisionModel[ModelConfig], task: Depth, *, scale_invariance: float) -> None:
        super().__init__(model)
        self.task = task
        self.scale_invariance = scale_invariance

    def loss_of(self, output: Float[Tensor, "B h w"], target: Float[Tensor, "B H W"]) -> Loss:
        resized = resized_map(output.float(), target.shape[1:])
        return Loss(scale_invariant_error(self.task.depths(resized), target, self.scale_invariance))


def scale_invariant_error(
    predicted: Float[Tensor, "B H W"], true: Float[Tensor, "B H W"], scale_invariance: float = 0.5
) -> Float[Tensor, ""]:
    """Root of mean(e²) − λ mean(e)², with e the difference of the logarithms, over the pixels of known depth.

    Eigen et al. (2014), eq. 4, of which Kim et al. (2022, "GLPN") take the root.

    Args:
        predicted: depths, positive.
        true: depths, positive, or NaN where they are not known; 0 is returned if none is.
        scale_invariance: λ, from 0 (a common factor counts fully) to 1 (it does not count).
    """
    known = true.isfinite()
    count = known.sum().clamp(min=1)
    # 1 has logarithm 0 and a finite gradient.
    errors = predicted.where(known, predicted.new_ones(())).log() - true.where(known, true.new_ones(())).log()
    variance = errors.square().sum() / count - scale_invariance * (errors.sum() / count).square()
    return variance.clamp(min=1e-12).sqrt()


@dataclass(frozen=True, kw_only=True)
class DepthConfig(ObjectiveConfig):
    """Scale-invariant error of the logarithm of the depth."""

    name: ClassVar[str] = "depth"
    tasks: ClassVar[tuple[str, ...]] = ("depth",)
    quality: ClassVar[str] = "task"

    scale_invariance: float = 0.5
    """0: a factor that all depths of a batch have in common counts fully; 1: it does not count."""

    def __post_init__(self) -> None:
        if not 0 <= self.scale_invariance <= 1:
            raise VitrailError(f"objective.scale_invariance is {self.scale_invariance}: use 0 to 1")

    def starting_weights(
        self, stored: Stored, task: Task | None, names: Sequence[str], changes: Mapping[str, Any]
    ) -> Stored:
        """The weights with a fresh head, if they are of a ViT without one for pixels."""
        assert task is not None
        return with_dense_head(stored, task, 0, changes)

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> DepthLoss:
        if labels is None or not isinstance(labels.task, Depth):
            raise VitrailError("objective depth needs maps of depths: give a source that has them")
        return DepthLoss(model, labels.task, scale_invariance=self.scale_invariance)

    def plans(self, config: ModelConfig) -> bool:
        return True

    def views(self, augmentation: Augmentation) -> Views:
        return MapView(augmentation.joint())

    def default_model(self, side: int) -> tuple[str, dict[str, Any], int] | None:
        return "compact_depth_small_128", {}, dense_size(side)
