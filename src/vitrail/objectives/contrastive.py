"""Objectives of images and texts: CLIP's symmetric cross entropy and SigLIP's loss of pairs."""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..checkpoint.build import blueprint
from ..checkpoint.document import Stored
from ..data.augment_options import Augment
from ..data.loader import Batch, Views
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel, BiasedCosine, DualEncoder
from ..tasks.task import Task
from .augmentation import Augmentation
from .image_tower import TEXT_ENCODER, with_text_encoder
from .objective import Labels, Loss, Moment, Objective, ObjectiveConfig

_LARGEST_SCALE = 100.0
"""Largest scale of CLIP's cosines: a larger one made its training unstable (Radford et al., 2021, section 2.5)."""


class Contrastive(Objective):
    """Loss of the logits of all pairs of an image and a text of a batch, of which those of one sample belong together.

    Args:
        model: images and texts -> logits.
        loss: logits (B, B) -> scalar.
        largest_scale: limit of the learned scale of the cosines; None: it has none.
    """

    def __init__(
        self, model: DualEncoder[Any], loss: Callable[[Tensor], Tensor], *, largest_scale: float | None = None
    ) -> None:
        super().__init__(model)
        self.loss = loss
        self.largest_scale = largest_scale

    @property
    def dual(self) -> DualEncoder[Any]:
        """The model, as a model of images and texts."""
        assert isinstance(self.model, DualEncoder)
        return self.model

    @property
    def log_scale(self) -> nn.Parameter:
        """Logarithm of the scale of the cosines."""
        compare: Any = self.dual.compare
        scale: nn.Parameter = compare.log_scale
        return scale

    def forward(self, batch: Batch, moment: Moment) -> Loss:
        dual = self.dual
        images, texts = dual.image(batch.pixels).float(), dual.text(batch.targets).float()
        # Differences of cosines are multiplied by up to 100: bfloat16 has too few digits for them.
        with torch.autocast(images.device.type, enabled=False):
            logits = dual.compare(F.normalize(images, dim=-1), F.normalize(texts, dim=-1))
        return Loss(self.loss(logits), {"scale": self.log_scale.detach().exp()})

    def after_step(self, moment: Moment) -> None:
        if self.largest_scale is not None:
            with torch.no_grad():
                self.log_scale.clamp_(0.0, math.log(self.largest_scale))


def clip_loss(logits: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
    """Cross entropy of the text of each image and of the image of each text (Radford et al., 2021, figure 3)."""
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.t(), own)) / 2


def siglip_loss(logits: Float[Tensor, "B B"]) -> Float[Tensor, ""]:
    """Binary cross entropy of all pairs, divided by the number of images (Zhai et al., 2023, algorithm 1)."""
    signs = 2 * torch.eye(len(logits), dtype=logits.dtype, device=logits.device) - 1
    return -F.logsigmoid(signs * logits).sum() / len(logits)


@dataclass(frozen=True, slots=True)
class CaptionView:
    """Views of a sample with captions: (image, token ids (C, L)) -> (image, token ids of one of them, (L,))."""

    transform: Callable[[Tensor], Tensor]

    def __call__(self, image: Tensor, target: Int[Tensor, "C L"]) -> tuple[Tensor, Int[Tensor, " L"]]:
        drawn = int(torch.randint(len(target), ()))
        return self.transform(image), target[drawn]


@dataclass(frozen=True, kw_only=True)
class ContrastiveConfig(ObjectiveConfig):
    """Base class of the objectives of images and texts."""

    tasks: ClassVar[tuple[str, ...]] = ("image-text",)
    quality: ClassVar[str] = "task"
    biased: ClassVar[bool]
    """Whether the model's logits have a bias."""

    @abstractmethod
    def around(self, model: DualEncoder[Any]) -> Contrastive:
        """The objective around a model whose logits it is for."""

    def build(self, model: BaseVisionModel[ModelConfig], labels: Labels | None) -> Contrastive:
        if not isinstance(model, DualEncoder):
            raise VitrailError(f"objective {self.name} needs a model of images and texts: choose a {self.name} variant")
        if isinstance(model.compare, BiasedCosine) != self.biased:
            wanted, found, other = ("a", "none", "clip") if self.biased else ("no", "one", "siglip")
            raise VitrailError(
                f"objective {self.name} is for logits with {wanted} bias, and those of this model have {found}: use "
                f"--objective {other}, or a {self.name} variant"
            )
        return self.around(model)

    def plans(self, config: ModelConfig) -> bool:
        """Those of models whose logits it is for."""
        model = blueprint(config)
        return isinstance(model, DualEncoder) and isinstance(model.compare, BiasedCosine) == self.biased

    def starting_weights(
        self, stored: Stored, task: Task | None, names: Sequence[str], changes: Mapping[str, Any]
    ) -> Stored:
        """The weights with a fresh text encoder, if they are of an image encoder alone."""
        assert task is not None
        fields, tokenizer = task.model_fields(stored.config, names), task.tokenizer_json
        own = {name: changes[name] for name in TEXT_ENCODER if name in changes}
        return with_text_encoder(stored, {**fields, **own}, sigmoid=self.biased, tokenizer=tokenizer)

    def views(self, augmentation: Augmentation) -> Views:
        return CaptionView(augmentation.transform())

    def default_augment(self, side: int) -> Augment:
        return _AUGMENT

    def default_model(self, side: int) -> tuple[str, dict[str, Any], int] | None:
        size = 32 if side <= 44 else 64 if side <= 160 else 128
        kind = "siglip" if self.biased else "clip"
        return f"compact_{kind}_{'tiny' if size == 32 else 'small'}_{size}", {}, size


_AUGMENT = Augment(crop="resized", crop_scale=(0.9, 1.0), flip=0.0)
"""CLIP's crop (section 2.4). A mirrored image has another left and right than its caption."""


@dataclass(frozen=True, kw_only=True)
class CLIPObjectiveConfig(ContrastiveConfig):
    """CLIP's symmetric cross entropy, with a learned scale of at most 100."""

    name: ClassVar[str] = "clip"
    biased: ClassVar[bool] = False

    def around(self, model: DualEncoder[Any]) -> Contrastive:
        return Contrastive(model, clip_loss, largest_scale=_LARGEST_SCALE)


@dataclass(frozen=True, kw_only=True)
class SigLIPObjectiveConfig(ContrastiveConfig):
    """SigLIP's loss: each pair of an image and a text is a binary classification, with a learned scale and bias."""

    name: ClassVar[str] = "siglip"
    biased: ClassVar[bool] = True

    def around(self, model: DualEncoder[Any]) -> Contrastive:
        return Contrastive(model, siglip_loss)
