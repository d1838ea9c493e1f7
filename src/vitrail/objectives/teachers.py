"""Teachers of a distillation: modules that score the student's classes on the student's pixels."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..checkpoint.contract import Checkpoint, load
from ..checkpoint.native import read_tensors
from ..data.loader import Key
from ..data.preprocess import Preprocess
from ..errors import VitrailError
from ..nn import joined
from ..task_spec import CLASSIFICATION

_REGISTERED: dict[str, nn.Module | Checkpoint] = {}


def register_teacher(name: str, teacher: nn.Module | Checkpoint) -> None:
    """Name a teacher in this process, so that recipes can: `objective: {name: distill, teacher: NAME}`.

    Args:
        name: its name.
        teacher: a checkpoint; or a module that takes the student's pixels, (B, C, H, W), and returns logits (B, K) in
            the order of the student's classes.
    """
    _REGISTERED[name] = teacher


def absolute_teacher(name: str) -> str:
    """The name of a teacher with an absolute path, if it is one, for a run that is resumed from another folder."""
    if name in _REGISTERED:
        return name
    kind, _, path = name.rpartition(":") if name.startswith("timm:") else ("", "", name)
    if not path or not Path(path).exists():
        return name
    return f"{kind}:{Path(path).resolve()}" if kind else str(Path(path).resolve())


class Teacher(nn.Module):
    """A frozen model that scores the student's classes: the student's pixels (B, C, H, W) -> logits (B, K).

    Args:
        model: the teacher.
        student: preprocessing of the pixels.
        own: preprocessing that the teacher was trained with; None: it takes the student's pixels.
        order: for each of the student's classes its index in the teacher's output; None: the same order.
    """

    order: Tensor | None

    def __init__(
        self, model: nn.Module, student: Preprocess, own: Preprocess | None = None, order: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)
        self.student = student
        self.own = own
        self.register_buffer("order", None if order is None else torch.tensor(order), persistent=False)

    @torch.no_grad()
    def forward(self, pixels: Float[Tensor, "B C H W"], keys: Sequence[Key] = ()) -> Float[Tensor, "B K"]:
        """Logits of a batch; `keys` are those of its samples, see `StoredLogits`."""
        logits: Tensor = joined(self.model(self._own(pixels))).float()
        return logits if self.order is None else logits[:, self.order]

    def _own(self, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        """The pixels at the teacher's size, with its channels and normalisation."""
        if self.own is None:
            return pixels
        images = self.student.denormalise(pixels)
        if self.own.channels != images.shape[1]:
            images = images.mean(dim=1, keepdim=True).expand(-1, self.own.channels, -1, -1)
        if tuple(images.shape[2:]) != self.own.image_size:
            images = F.interpolate(images, self.own.image_size, mode="bilinear", antialias=True)
        return self.own.normalise(images)


def make_teacher(name: str, classes: Sequence[str], student: Preprocess) -> Teacher:
    """The teacher with this name: one that was registered, timm:NAME, timm:NAME:FILE, or what `load` takes.

    Args:
        name: see `DistillConfig.teacher`.
        classes: the student's classes.
        student: the student's preprocessing.

    Raises:
        VitrailError: there is no such teacher, or it lacks a class of the student's.
    """
    if name in _REGISTERED:
        found = _REGISTERED[name]
        if isinstance(found, Checkpoint):
            return _of_checkpoint(found, name, classes, student)
        return Teacher(found, student)
    if name.startswith("timm:"):
        return _of_timm(name, len(classes), student)
    if name.startswith("python:"):
        raise VitrailError(
            f"the teacher {name} is a module of the process that started the run: register it here too, with "
            f"vitrail.register_teacher({name!r}, module)"
        )
    return _of_checkpoint(load(name), name, classes, student)


def _of_checkpoint(checkpoint: Checkpoint, name: str, classes: Sequence[str], student: Preprocess) -> Teacher:
    if checkpoint.task.name != CLASSIFICATION.name:
        raise VitrailError(
            f"the teacher {name} is for {checkpoint.task.name}, and a distillation needs a classifier: give another"
        )
    own = checkpoint.preprocess
    if own.channels != student.channels and own.channels not in (1, 3):
        raise VitrailError(
            f"the teacher {name} takes images of {own.channels} channels, and the student's have {student.channels}: "
            "give a teacher for such images"
        )
    return Teacher(checkpoint.model, student, own, _order(checkpoint, name, classes))


def _order(checkpoint: Checkpoint, name: str, classes: Sequence[str]) -> list[int] | None:
    if not checkpoint.class_names:
        _require_outputs(name, checkpoint.config.num_outputs, len(classes))
        return None
    place = {known: index for index, known in enumerate(checkpoint.class_names)}
    if lacking := [each for each in classes if each not in place]:
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        raise VitrailError(
            f"the teacher {name} does not know {', '.join(lacking[:5])}{more}: fine-tune it on these classes first"
        )
    return [place[each] for each in classes]


def _of_timm(name: str, count: int, student: Preprocess) -> Teacher:
    """A model of timm, with its pretrained weights, or with those of a file and one output for each class."""
    try:
        timm = import_module("timm")
    except ImportError as error:
        raise VitrailError(f"the teacher {name} needs timm: pip install timm") from error
    _, variant, *file = name.split(":", 2)
    try:
        model: Any = timm.create_model(variant, pretrained=not file, num_classes=count if file else None)
    except (RuntimeError, OSError) as error:
        raise VitrailError(f"the teacher {name} could not be made: {error}") from error
    if file:
        if Path(file[0]).suffix != ".safetensors":
            raise VitrailError(f"the teacher's weights {file[0]} are no .safetensors file: save them as one")
        try:
            model.load_state_dict(read_tensors(Path(file[0]))[0])
        except RuntimeError as error:
            raise VitrailError(f"the weights {file[0]} do not fit timm's {variant}: {error}") from None
    _require_outputs(name, model.num_classes, count)
    card = model.pretrained_cfg
    own = Preprocess(image_size=card["input_size"][1:], mean=tuple(card["mean"]), std=tuple(card["std"]))
    return Teacher(model, student, own)


def _require_outputs(name: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise VitrailError(
            f"the teacher {name} has {found} outputs without names, and the student has {wanted} classes: give one "
            "that was trained on these classes"
        )
