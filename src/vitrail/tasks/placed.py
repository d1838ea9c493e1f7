"""Base class of tasks whose labels and outputs have places in the image."""

from abc import abstractmethod
from typing import Any

from jaxtyping import Float, UInt8
from torch import Tensor

from ..models.fields import ModelConfig
from .outcomes import Metrics, Names
from .task import Task


class PlacedTask(Task):
    """Task whose labels and outputs have places: boxes, or a value for each pixel.

    The image is resized as a whole, not cropped, so that fractions of its sides stay what they are. Outputs of a split
    do not fit in memory: metrics take one batch after the other.
    """

    @abstractmethod
    def example_target(self, config: ModelConfig, names: Names) -> Any: ...

    @property
    def is_open(self) -> bool:
        """Whether something of the task is open until `fitted_to` fits it; by default not."""
        return False

    def fitted_to(self, metrics: Metrics) -> "PlacedTask":
        """The task with what makes its predictions agree with held-out images; by default unchanged.

        Args:
            metrics: the task's own, after all batches of the validation split.
        """
        return self

    @abstractmethod
    def errors(self, output: Any, target: Any) -> Float[Tensor, " B"]:
        """Size of the error of each image of a batch: the report shows the images with the largest."""

    @abstractmethod
    def drawn(self, image: UInt8[Tensor, "3 H W"], prediction: Any, names: Names) -> dict[str, bytes]:
        """Files with the prediction for an image: end of the name -> content.

        Args:
            image: the image at its own size.
            prediction: the prediction for it.
            names: names of the outputs.
        """
