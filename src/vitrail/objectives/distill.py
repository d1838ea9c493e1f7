"""Distillation: learning from labels and from the outputs of a teacher."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..data.loader import Batch
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel, DistilledLogits
from ..tasks.classification import Classification
from .objective import Labels, Loss, Moment
from .stored_logits import FACTS, StoredLogits, read_facts
from .supervised import Supervised, SupervisedConfig
from .teachers import Teacher, make_teacher

if TYPE_CHECKING:
    from ..data.augment import Mix


class Distilled(Supervised):
    """Weighted sum of the loss of the labels, and of the difference between the outputs of student and teacher.

    Soft: the Kullback-Leibler divergence from the teacher at a temperature, times its square (Hinton et al., 2015,
    "Distilling the knowledge in a neural network"); of several labels, binary cross entropy. Hard: cross entropy of the
    teacher's most probable class (Touvron et al., 2021, "DeiT", section 4). A model with a distillation token learns
    the teacher's outputs with that one, and the labels with the class token.

    Args:
        model: pixels -> logits (B, K), or `DistilledLogits`.
        loss, mix: see `Supervised`.
        teacher: a module, pixels -> logits; or stored logits.
        one_label: whether classes are exclusive.
        kind: "soft" or "hard".
        temperature: by which logits are divided.
        weight: fraction of the loss that is the teacher's.
    """

    def __init__(
        self,
        model: BaseVisionModel[ModelConfig],
        loss: nn.Module,
        teacher: Teacher | StoredLogits,
        *,
        mix: "Mix | None",
        one_label: bool,
        kind: Literal["soft", "hard"],
        temperature: float,
        weight: float,
    ) -> None:
        super().__init__(model, loss, mix=mix)
        self.teacher = teacher
        self.one_label = one_label
        self.kind = kind
        self.temperature = temperature
        self.weight = weight

    def forward(self, batch: Batch, moment: Moment) -> Loss:
        pixels, targets = self.mixed(batch)
        taught = self.teacher(pixels, batch.keys)
        output = self.model(pixels)
        both = output if isinstance(output, DistilledLogits) else DistilledLogits(output, output)
        labels = self.loss(both.classes.float(), targets)
        teacher = self.difference(both.distilled.float(), taught)
        return Loss((1 - self.weight) * labels + self.weight * teacher, {"labels": labels, "teacher": teacher})

    def difference(self, student: Float[Tensor, "B K"], teacher: Float[Tensor, "B K"]) -> Float[Tensor, ""]:
        """Mean loss of the student's logits against the teacher's."""
        if not self.one_label:
            hard = self.kind == "hard"
            targets = (teacher > 0).float() if hard else (teacher / self.temperature).sigmoid()
            scale = 1.0 if hard else self.temperature
            return scale**2 * F.binary_cross_entropy_with_logits(student / scale, targets)
        if self.kind == "hard":
            return F.cross_entropy(student, teacher.argmax(dim=1))
        ours, theirs = ((logits / self.temperature).log_softmax(dim=1) for logits in (student, teacher))
        return self.temperature**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)


@dataclass(frozen=True, kw_only=True)
class DistillConfig(SupervisedConfig):
    """Learn from labels and from a teacher's outputs (Hinton et al., 2015; Touvron et al., 2021, "DeiT")."""

    name: ClassVar[str] = "distill"

    teacher: str = ""
    """A checkpoint: run, folder, file or hub id; timm:NAME for a model of timm with its pretrained weights, or
    timm:NAME:FILE with others; a folder of stored logits; or a name given by `register_teacher`."""
    kind: Literal["soft", "hard"] = "soft"
    """soft: the teacher's probabilities; hard: its most probable class."""
    temperature: float = 3.0
    """Divisor of the logits before the soft comparison."""
    weight: float = 0.5
    """Fraction of the loss that is the teacher's."""

    def __post_init__(self) -> None:
        SupervisedConfig.__post_init__(self)
        if not 0 < self.temperature <= 1000:
            raise VitrailError(f"objective.temperature is {self.temperature}: it is more than 0 and at most 1000")
        if not 0 <= self.weight <= 1:
            raise VitrailError(f"objective.weight is {self.weight}: it is a fraction, from 0 to 1")

    @property
    def stored(self) -> Path | None:
        """The folder of stored logits, if the teacher is one."""
        folder = Path(self.teacher)
        return folder if self.teacher and (folder / FACTS).is_file() else None

    def augmented_epochs(self) -> int | None:
        return read_facts(self.stored).epochs if self.stored else None

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> Distilled:
        assert labels is not None
        assert isinstance(labels.task, Classification)
        if not self.teacher:
            raise VitrailError("objective distill needs a teacher: --set objective.teacher=CHECKPOINT")
        one_label = labels.task.labels == "one"
        stored = self._stored_logits(labels, one_label) if self.stored else None
        return Distilled(
            model,
            self._loss(labels.targets, one_label=one_label),
            stored or make_teacher(self.teacher, labels.names, labels.preprocess),
            mix=self._mix(labels),
            one_label=one_label,
            kind=self.kind,
            temperature=self.temperature,
            weight=self.weight,
        )

    def _stored_logits(self, labels: Labels, one_label: bool) -> StoredLogits:
        """The teacher's logits from its folder.

        Raises:
            VitrailError: they are of other images, or the options need other logits.
        """
        stored = StoredLogits(Path(self.teacher))
        facts, whole = stored.facts, stored.facts.top_k == len(stored.facts.classes)
        if (facts.classes, facts.images) != (labels.names, labels.images):
            raise VitrailError(
                f"the logits in {self.teacher} are of other images than this run's: use the source, seed, "
                "augmentation, image size and splits that they were stored with, or store them again"
            )
        if self.mixup or self.cutmix:
            raise VitrailError("stored logits are of single images: set objective.mixup=0 and objective.cutmix=0")
        if not whole and (not one_label or (self.kind == "soft" and facts.temperature != self.temperature)):
            wanted = f"temperature {facts.temperature:g}" if one_label else "all logits of several labels"
            raise VitrailError(
                f"{self.teacher} has the {facts.top_k} largest of {len(facts.classes)} logits, which are exact for "
                f"{wanted}: use that, or store all with --top-k {len(facts.classes)}"
            )
        return stored
