"""Augmentation of a run's images, from which an objective makes the views of a sample."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor

from ..data.augment_options import Augment
from ..data.decode import unchanged
from ..data.preprocess import Preprocess
from ..errors import VitrailError
from ..models.fields import ModelConfig

if TYPE_CHECKING:
    from ..data.joint import JointView

Transform = Callable[[Tensor], Tensor]
"""Image (C, H, W) -> augmented image of the model's input size."""


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of a run's images, from which the views of a sample are made.

    Attributes:
        options: operations and their strengths; None for images as in evaluation.
        preprocess: the model's preprocessing.
        model: the model's config.
        own: function given by the user, image (C, H, W) -> image of the model's size, in place of the options.
    """

    options: Augment | None
    preprocess: Preprocess
    model: ModelConfig
    own: Transform | None = None

    def transform(self) -> Transform:
        """Function image -> augmented image of the model's size."""
        if self.options is None:
            return unchanged
        from ..data.augment import image_transform
        from ..data.time_window import TimeWindow

        if self.own is None:
            return image_transform(self.options, self.preprocess)
        return self.own if self.preprocess.frames is None else _Both(self.own, TimeWindow(self.preprocess.frames))

    def joint(self) -> "JointView":
        """Views of a sample whose target has places: (image, placed target) -> both, augmented together.

        Raises:
            VitrailError: steps that targets cannot follow, such as a function of the user's.
        """
        from ..data.joint import JointView

        if self.own is not None:
            raise VitrailError(
                "transform changes images alone, and these labels have places in the image: leave it out, and use "
                "the recipe's augment"
            )
        return JointView(self.options, self.preprocess)

    def of(self, options: Augment, image_size: tuple[int, int] | None = None) -> Transform:
        """Function image -> image augmented with other options, of another size if one is given.

        The user's own function, which these options do not describe, is applied before it.
        """
        from ..data.augment import image_transform

        size = image_size or self.preprocess.image_size
        made = image_transform(options, replace(self.preprocess, image_size=size))
        return made if self.own is None else _Both(self.own, made)


@dataclass(frozen=True, slots=True)
class _Both:
    """Two functions, one after the other; a class, so that worker processes can unpickle it."""

    first: Transform
    second: Transform

    def __call__(self, image: Tensor) -> Tensor:
        return self.second(self.first(image))
