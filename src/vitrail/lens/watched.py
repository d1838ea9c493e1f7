"""A model with its preprocessing and class names, and its predictions by class name."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..checkpoint.contract import Checkpoint, CheckpointLike, as_checkpoint, load
from ..checkpoint.texts import tokenizer_of
from ..data.preprocess import Preprocess
from ..errors import VitrailError
from ..machine.devices import pick_device
from ..nn import DualEncoder
from ..tasks.classification import Classification
from ..tasks.registry import resolve, task_names
from ..tasks.task import Task
from .outputs import gives_classes, image_model
from .texts import Kind, Phrase, similarity_model, text_notes

Source = CheckpointLike
"""A checkpoint, or what `load` takes: a run, a folder, a file, a hub id."""

_PLAIN = Classification()

_WITHOUT_TEXTS = (
    'only the image encoder is shown: name texts to see which patches meet their words, such as --texts "a red square"'
)


@dataclass(frozen=True, slots=True)
class Watched:
    """A model in evaluation mode with its preprocessing.

    Attributes:
        name: name of the model on a page.
        class_names: names in the order of the outputs; empty if unknown.
        task: meaning of the outputs; None if it is not known.
        phrases: texts and words whose similarities with the image are the outputs, see `similarity_model`; empty for
            other models.
        notes: sentences for the user about texts.
    """

    name: str
    model: nn.Module
    preprocess: Preprocess
    class_names: Sequence[str] = ()
    task: Task | None = _PLAIN
    phrases: tuple[Phrase, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def classifies(self) -> bool:
        """Whether the model scores classes; False for regression, embeddings, detection, segmentation and the like."""
        return gives_classes(self.model)

    @property
    def classification(self) -> Classification | None:
        """The task that converts logits to probabilities; None unless the model `classifies`."""
        return self.task if self.classifies and isinstance(self.task, Classification) else None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs, "class 0" and so on if they are unknown."""
        config: Any = getattr(self.model, "config", None)
        return tuple(self.class_names) or tuple(f"class {index}" for index in range(getattr(config, "num_outputs", 0)))

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def pixels(self, image: Tensor) -> Float[Tensor, "1 C H W"]:
        """One image (C, H, W) as a batch of one, on the model's device."""
        return self.preprocess(image)[None].to(self.device)

    @property
    def of_fitted(self) -> "Watched":
        """The same model for images that its `preprocess.fit` has resized and cropped, which then leaves them as they
        are."""
        return replace(self, preprocess=replace(self.preprocess, crop=1.0))

    def class_name(self, index: int) -> str:
        return self.class_names[index] if self.class_names else f"class {index}"


@dataclass(frozen=True, slots=True)
class Prediction:
    """A class with its probability.

    Attributes:
        index, name: of the output.
        probability: of a class; of a text its cosine with the image, of a word how much less it is without the word.
        kind: which of these.
    """

    index: int
    name: str
    probability: float
    kind: Kind = "class"


def watch(
    source: Source,
    *,
    image_size: int | None = None,
    device: str | torch.device = "auto",
    texts: Sequence[str] = (),
) -> Watched:
    """Return a checkpoint as a `Watched` on a device; of an image-text model only the image encoder.

    Args:
        image_size: another size than the model's own, in pixels; positions are resampled.
        device: "auto", "cpu", "cuda" or "cuda:1".
        texts: texts whose similarities with the image, and those of their words, replace the model's outputs.

    Raises:
        VitrailError: texts for a model that does not compare images with texts, see `similarity_model`.
    """
    if isinstance(source, Checkpoint) and image_size is not None:
        raise VitrailError("image_size changes a checkpoint as it is loaded: give its path, not a loaded checkpoint")
    resized = image_size is not None and not isinstance(source, Checkpoint)
    checkpoint = load(os.fspath(source), image_size=image_size) if resized else as_checkpoint(source)  # type: ignore[arg-type]
    if texts:
        return _with_texts(source, checkpoint, texts, device)
    notes = (_WITHOUT_TEXTS,) if isinstance(checkpoint.model, DualEncoder) else ()
    model = image_model(checkpoint.model).to(pick_device(str(device))).eval()
    task = resolve(checkpoint.task) if checkpoint.task.name in task_names() else None
    if gives_classes(model) and not isinstance(task, Classification):
        task = _PLAIN
    return Watched(_name(source, checkpoint), model, checkpoint.preprocess, checkpoint.class_names, task, notes=notes)


def _with_texts(source: Source, checkpoint: Checkpoint, texts: Sequence[str], device: str | torch.device) -> Watched:
    model, found = similarity_model(checkpoint, texts)
    return Watched(
        _name(source, checkpoint),
        model.to(pick_device(str(device))).eval(),
        checkpoint.preprocess,
        tuple(phrase.name for phrase in found),
        phrases=tuple(found),
        notes=tuple(text_notes(tokenizer_of(checkpoint), texts)),
    )


def predictions(watched: Watched, output: Any, top_k: int) -> list[Prediction]:
    """The `top_k` most probable classes, for the first image; none for a model that does not classify.

    Of a model with texts, all texts, each followed by its words.
    """
    values = scores(watched, output)
    if values is None:
        return []
    if watched.phrases:
        pairs = zip(watched.phrases, values.tolist(), strict=True)
        return [Prediction(index, one.name, value, one.kind) for index, (one, value) in enumerate(pairs)]
    best = values.topk(min(top_k, len(values)))
    ranked = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [Prediction(index, watched.class_name(index), value) for index, value in ranked]


def scores(watched: Watched, output: Any) -> Float[Tensor, "K"] | None:
    """The probability of every class, or the similarity of every text and word, for the first image; None for a model
    with neither."""
    if watched.phrases:
        return output[0].float().cpu()
    task = watched.classification
    if task is None or not isinstance(output, Tensor) or output.ndim != 2:
        return None
    return task.probabilities(output[0].float().cpu())


def _name(source: Source, checkpoint: Checkpoint) -> str:
    path = checkpoint.path if isinstance(source, Checkpoint) else Path(source)
    return (path.name if path else "") or str(checkpoint.info.get("architecture", "the model"))
