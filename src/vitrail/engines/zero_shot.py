"""Zero-shot classification: the classes are texts, and a model of images and texts compares images with them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..checkpoint.contract import Checkpoint
from ..checkpoint.texts import tokenizer_of
from ..errors import VitrailError
from ..nn import BiasedCosine, DualEncoder
from ..tasks.classification import Classification
from ..tasks.text_encoder import TextEncoder
from .engine import Engine
from .predictor import Predictor
from .setting import engine_for

PLACE = "{}"
"""Where a template has the class."""

_AS_IT_IS, _PHOTO = (PLACE,), ("a photo of {}.",)
"""Default templates: for a vocabulary that was learned here, which may not have the words of the other; and for
published models, after the one of CLIP (Radford et al., 2021, section 3.1.4), whose classes have no article."""


class ZeroShotEngine:
    """Engine whose outputs are the logits of texts: pixels -> (B, K).

    Args:
        vectors: engine whose outputs are embeddings of images.
        encoder: text encoder, whose model has the scale of the logits.
        classes: (K, E), unit vectors of the classes.
    """

    def __init__(self, vectors: Engine, encoder: TextEncoder, classes: Float[Tensor, "K E"]) -> None:
        self.device, self.precision = vectors.device, vectors.precision
        self.vectors = vectors
        self.encoder = encoder
        self.classes = classes

    def __call__(self, pixels: Tensor) -> Float[Tensor, "B K"]:
        images = F.normalize(self.vectors(pixels).flatten(1), dim=-1)
        return self.encoder.logits(images, self.classes)


def zero_shot_predictor(
    checkpoint: Checkpoint,
    classes: Sequence[str],
    templates: Sequence[str] = (),
    *,
    batch_size: int = 32,
    engine: str = "torch",
    device: str = "auto",
    precision: str = "auto",
    tta: str = "none",
) -> Predictor:
    """Build a Predictor whose classes are texts.

    A class's vector is the mean of the unit vectors of its texts, one for each template (Radford et al., 2021, section
    3.1.4). If the model's logits have a bias, as SigLIP's, their sigmoid is the probability of each class by itself, so
    that an image may have several classes or none; otherwise probabilities are a softmax over the classes.

    Args:
        checkpoint: a model of images and texts.
        classes: texts, such as "a cat".
        templates: texts with {} in the place of the class; by default "{}" for a vocabulary that was learned here, and
            "a photo of {}." for other models.
        batch_size, engine, device, precision, tta: see `make_predictor`.

    Raises:
        VitrailError: another model, no tokenizer, fewer than two classes, an empty or a repeated one, or a template
            without {}.
    """
    model = checkpoint.model
    if not isinstance(model, DualEncoder):
        raise VitrailError(
            f"a model of images and texts takes any classes, and this checkpoint is for {checkpoint.task.name}, with "
            "the classes that it was trained on: leave out --classes or --zero-shot"
        )
    _check_classes(classes)
    encoder = TextEncoder(model, tokenizer_of(checkpoint))
    running = engine_for(checkpoint, engine=engine, device=device, precision=precision, vectors=True)
    vectors = class_vectors(encoder, classes, checked_templates(templates) or default_templates(encoder))
    task = Classification(labels="many" if isinstance(model.compare, BiasedCosine) else "one")
    made = ZeroShotEngine(running.engine, encoder, vectors)
    return Predictor(made, running.preprocess, task, classes, batch_size=batch_size, tta=tta)


def default_templates(encoder: TextEncoder) -> Sequence[str]:
    """Templates for classes if none are given."""
    return _AS_IT_IS if encoder.tokenizer.learned else _PHOTO


def class_vectors(encoder: TextEncoder, classes: Sequence[str], templates: Sequence[str]) -> Float[Tensor, "K E"]:
    """Unit vectors of classes: means over the templates. Underscores in names of folders are spaces."""
    texts = [name.replace("_", " ") for name in classes]
    found = [encoder.vectors([template.replace(PLACE, text) for template in templates]).mean(dim=0) for text in texts]
    return F.normalize(torch.stack(found), dim=-1)


def parse_classes(text: str) -> tuple[str, ...]:
    """Classes of a command line: "a cat;a dog"."""
    return tuple(name.strip() for name in text.split(";") if name.strip())


def read_templates(path: Path) -> tuple[str, ...]:
    """Templates of a file, one in each line; empty lines are left out.

    Raises:
        VitrailError: it cannot be read, has none, or one without {}.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise VitrailError(f"{path} cannot be read: {reason}") from error
    found = tuple(line.strip() for line in lines if line.strip())
    if not found:
        raise VitrailError(f"{path} has no template: write a line such as a photo of {PLACE}.")
    return checked_templates(found)


def checked_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """The templates. Raises VitrailError for one without the place of the class."""
    for template in templates:
        if PLACE not in template:
            raise VitrailError(f"the template {template!r} has no {PLACE}: write it in the place of the class")
    return tuple(templates)


def unknown_words(predictor: Predictor) -> list[str]:
    """Words of the classes of a zero-shot predictor that are not in the vocabulary of its model."""
    engine: Any = predictor.engine
    return engine.encoder.tokenizer.unknown(predictor.names) if isinstance(engine, ZeroShotEngine) else []


def _check_classes(classes: Sequence[str]) -> None:
    if isinstance(classes, str) or len(classes) < 2:
        raise VitrailError(f"classes {classes!r} are not two or more texts: give a list, such as a cat;a dog")
    if any(not name.strip() for name in classes):
        raise VitrailError("one of the classes is empty: write a text for each")
    if twice := next((name for name in classes if list(classes).count(name) > 1), None):
        raise VitrailError(f"the class {twice!r} is given twice: leave one out")
