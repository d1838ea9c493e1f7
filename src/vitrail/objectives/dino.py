"""DINO: pre-training without labels by matching a teacher that is a moving average of the student."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..checkpoint.build import stride_of
from ..data.loader import Batch, Views
from ..errors import VitrailError
from ..models.fields import ModelConfig, pair
from ..nn import BaseVisionModel, PrototypeHead, init_vit
from .augmentation import Augmentation, Transform
from .encoders import EncoderObjectiveConfig, embedding_dim
from .objective import Labels, Loss, Moment, Objective

_GLOBAL = 2
"""Views of a sample that the teacher sees."""

_SMALL = 96 / 224
"""Side of the small crops, as a fraction of the image's."""

_JITTER: dict[str, Any] = {"color_jitter": 0.4, "hue": 0.1, "color_jitter_rate": 0.8, "grayscale": 0.2}
_COLOURS: tuple[dict[str, Any], ...] = (
    {**_JITTER, "blur": 1.0},
    {**_JITTER, "blur": 0.1, "solarize": 0.2},
    {**_JITTER, "blur": 0.5},
)
"""Options of the augmentation of the first and second large crop, and of the small ones (appendix B there)."""
_PLAIN: tuple[dict[str, Any], ...] = ({}, {}, {})


_MOST = {
    "prototypes": 1_000_000,
    "hidden_dim": 65_536,
    "bottleneck_dim": 65_536,
    "local_crops": 100,
    "local_size": 32_768,
}
"""Largest values of whole numbers."""


@dataclass(frozen=True, kw_only=True)
class DINOObjectiveConfig(EncoderObjectiveConfig):
    """Match the prototypes of a teacher on other crops; the teacher is the student's moving average (Caron et al.,
    2021, "DINO")."""

    name: ClassVar[str] = "dino"
    quality: ClassVar[str] = "last"

    prototypes: int = 4096
    """Number of prototypes; the paper has 65,536 for ImageNet."""
    hidden_dim: int = 2048
    """Width of the hidden layers of the projection head."""
    bottleneck_dim: int = 256
    """Width of the vectors that are compared with the prototypes."""
    local_crops: int = 8
    """Number of small crops of each image, which only the student sees."""
    local_size: int | None = None
    """Side of the small crops in pixels; None: 96 of 224, in whole cells of the model's grid."""
    global_scale: tuple[float, float] = (0.4, 1.0)
    """Smallest and largest fraction of the area in the two large crops."""
    local_scale: tuple[float, float] = (0.05, 0.4)
    """Smallest and largest fraction of the area in the small crops."""
    colour: bool = True
    """Jitter, grayscale, blur and solarization of RGB images, as in the paper, besides the recipe's augmentation."""
    momentum: float = 0.996
    """Decay of the teacher's average at first; it grows to 1 along a half cosine."""
    student_temperature: float = 0.1
    """Temperature of the student's softmax."""
    teacher_temperature: float = 0.04
    """Temperature of the teacher's softmax."""
    centre_momentum: float = 0.9
    """Decay of the average of the teacher's outputs, which is subtracted from them."""
    fixed_prototypes: float = 0.01
    """Fraction of the run, at its start, in which the prototypes are not trained; the paper has the first epoch."""

    def __post_init__(self) -> None:
        counts = {"prototypes": self.prototypes, "hidden_dim": self.hidden_dim, "bottleneck_dim": self.bottleneck_dim}
        for name, count in {**counts, "local_crops": self.local_crops, "local_size": self.local_size or 1}.items():
            least = {"prototypes": 2, "local_crops": 0}.get(name, 1)
            if not least <= count <= _MOST[name]:
                raise VitrailError(f"objective.{name} is {count}: it needs to be from {least} to {_MOST[name]:,}")
        for name, (low, high) in {"global_scale": self.global_scale, "local_scale": self.local_scale}.items():
            if not 0 < low <= high <= 1:
                raise VitrailError(f"objective.{name} is {low} to {high}: it needs 0 < smallest <= largest <= 1")
        fractions = {"momentum": self.momentum, "centre_momentum": self.centre_momentum}
        for name, value in {**fractions, "fixed_prototypes": self.fixed_prototypes}.items():
            if not 0 <= value <= 1:
                raise VitrailError(f"objective.{name} is {value}: it is a fraction, from 0 to 1")
        student, teacher = self.student_temperature, self.teacher_temperature
        for name, value in {"student_temperature": student, "teacher_temperature": teacher}.items():
            if not 0 < value <= 100:
                raise VitrailError(f"objective.{name} is {value}: it needs to be more than 0, at most 100")

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> "SelfDistillation":
        return SelfDistillation(model, self)

    def views(self, augmentation: Augmentation) -> Views:
        """Two large crops and several small ones; in evaluation the image twice."""
        if augmentation.options is None:
            return Crops([augmentation.transform()] * _GLOBAL)
        colours = _COLOURS if self.colour and augmentation.preprocess.channels == 3 else _PLAIN
        first, second, local = (replace(augmentation.options, crop="resized", **each) for each in colours)
        large = [augmentation.of(replace(each, crop_scale=self.global_scale)) for each in (first, second)]
        small = augmentation.of(replace(local, crop_scale=self.local_scale), self._small_size(augmentation))
        return Crops([*large, *[small] * self.local_crops])

    def _small_size(self, augmentation: Augmentation) -> tuple[int, int]:
        """(height, width) of the small crops: whole cells of the model's grid, at least two."""
        if self.local_size is not None:
            return pair(self.local_size)
        sides = zip(augmentation.preprocess.image_size, stride_of(augmentation.model), strict=True)
        height, width = (min(side, max(2, round(side * _SMALL / cell)) * cell) for side, cell in sides)
        return height, width


@dataclass(frozen=True, slots=True)
class Crops:
    """Several views of a sample, as a tuple, each made by its own function; the target is unchanged."""

    transforms: Sequence[Transform]

    def __call__(self, image: Tensor, target: Any) -> tuple[tuple[Tensor, ...], Any]:
        return tuple(transform(image) for transform in self.transforms), target


class SelfDistillation(Objective):
    """Cross entropy of the student's prototypes in one view with the teacher's in another.

    Caron et al. (2021), "Emerging properties in self-supervised vision transformers", section 3.1 and algorithm 1. The
    teacher, which is evaluated and saved, is a moving average of the student; its outputs are centred and sharpened,
    so that they collapse neither to one prototype nor to all alike. The part "entropy" of the loss is the mean entropy
    of its probabilities: 0, or the logarithm of the number of prototypes, means a collapse.

    Args:
        model: an encoder without classes, the student.
        options: see `DINOObjectiveConfig`.
    """

    centre: Float[Tensor, "1 K"]

    def __init__(self, model: BaseVisionModel[ModelConfig], options: DINOObjectiveConfig) -> None:
        super().__init__(model)
        self.options = options
        self.project = PrototypeHead(
            embedding_dim(model.config),
            options.prototypes,
            hidden_dim=options.hidden_dim,
            bottleneck_dim=options.bottleneck_dim,
        )
        self.project.apply(init_vit)
        self.teacher = copy.deepcopy(model).requires_grad_(False)
        self.teacher_project = copy.deepcopy(self.project).requires_grad_(False)
        self.register_buffer("centre", torch.zeros(1, options.prototypes))
        self._outputs: list[Tensor] = []

    def forward(self, batch: Batch, moment: Moment) -> Loss:
        views: Sequence[Tensor] = batch.pixels
        self.project.prototypes.requires_grad_(moment.fraction >= self.options.fixed_prototypes)
        large = torch.cat(list(views[:_GLOBAL]))
        with torch.no_grad():
            teacher = self.teacher_project(self.teacher(large)).float()
        student = self.project(self.model(large)).float()
        if len(views) > _GLOBAL:
            student = torch.cat([student, self.project(self.model(torch.cat(list(views[_GLOBAL:])))).float()])
        if self.training:
            self._outputs.append(teacher.mean(dim=0, keepdim=True))
        return self.loss(student.unflatten(0, (len(views), -1)), teacher.unflatten(0, (_GLOBAL, -1)))

    def loss(self, student: Float[Tensor, "V B K"], teacher: Float[Tensor, "G B K"]) -> Loss:
        """Mean cross entropy over all pairs of a teacher's view and another view of the student."""
        targets = ((teacher - self.centre) / self.options.teacher_temperature).softmax(dim=2)
        logs = (student / self.options.student_temperature).log_softmax(dim=2)
        total = -(targets.sum(dim=0) * logs.sum(dim=0)).sum(dim=1).mean()
        same = -(targets * logs[: len(targets)]).sum(dim=2).mean(dim=1).sum()  # pairs of a view with itself
        pairs = len(targets) * len(logs) - len(targets)
        entropy = -torch.special.xlogy(targets, targets).sum(dim=2).mean()
        return Loss((total - same) / pairs, {"entropy": entropy})

    @torch.no_grad()
    def after_step(self, moment: Moment) -> None:
        """Move the teacher towards the student, and the centre towards the mean of the teacher's outputs."""
        first = self.options.momentum
        decay = 1 - (1 - first) * (math.cos(math.pi * moment.fraction) + 1) / 2
        for average, learner in ((self.teacher, self.model), (self.teacher_project, self.project)):
            mine, theirs = ([param.detach() for param in each.parameters()] for each in (average, learner))
            torch._foreach_lerp_(mine, theirs, 1 - decay)
            for kept, buffer in zip(average.buffers(), learner.buffers(), strict=True):
                kept.copy_(buffer)
        self.centre.lerp_(torch.cat(self._outputs).mean(dim=0, keepdim=True), 1 - self.options.centre_momentum)
        self._outputs.clear()

    def trained(self) -> BaseVisionModel[ModelConfig]:
        """The teacher."""
        return self.teacher
