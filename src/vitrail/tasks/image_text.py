"""The image-text task: images and their captions, compared in one space."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Never

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..data.learned_tokenizer import learn_tokenizer
from ..data.samples import Sample, Source
from ..data.survey import Survey
from ..data.targets import Targets
from ..data.tokenize import Tokenizer
from ..errors import VitrailError
from ..models.fields import ModelConfig
from ..models.texts import tokenizer_for
from ..nn import DualEncoder
from ..pages.html import section, table
from ..plain import short
from ..tables import plain_table
from ..task_spec import TaskSpec
from .outcomes import Curve, Mistake, Names, Prediction
from .retrieval_metrics import Captions, RetrievalEvaluation, RetrievalMetrics, different, ownership
from .task import Task, same_kind
from .text_encoder import TextEncoder

_CHECKED, _NAMED = 10_000, 5
"""Images whose captions are checked, and unknown words that a sentence names."""

_WAY_OUT = 'name the classes to choose from, --classes "a cat;a dog", or use `vitrail study retrieval`'


@dataclass(frozen=True, slots=True)
class CaptionReader:
    """Index -> token ids of all captions of a sample, (C, L)."""

    captions: tuple[Captions, ...]
    tokenizer: Tokenizer

    def __call__(self, index: int) -> Int[Tensor, "C L"]:
        return self.tokenizer(self.captions[index])


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageText(Task):
    """Images and texts: outputs are embeddings of images (B, E), labels captions.

    Attributes:
        tokenizer: tokenizer of the captions; None until it is `fitted` or `bound`.
        encoder: text encoder of the model that is evaluated; None until it is `bound` to a model.
    """

    name: ClassVar[str] = "image-text"
    card_type: ClassVar[str] = "zero-shot-image-classification"
    heads: ClassVar[tuple[str, ...]] = ("image-text",)
    objective: ClassVar[str] = "clip"
    curve: ClassVar[Curve] = Curve(
        title="Validation R@1",
        columns={"image → text": "val_image_to_text_r1", "text → image": "val_text_to_image_r1"},
        percent=True,
    )
    loss_words: ClassVar[str] = "the mean cross entropy of both directions, among all images and captions of the part"
    decoded_name: ClassVar[str] = "vector"
    by_vectors: ClassVar[bool] = True
    predict_flags: ClassVar[str] = '--classes "a cat;a dog"'

    tokenizer: Tokenizer | None = field(default=None, init=False, compare=False, repr=False)
    encoder: TextEncoder | None = field(default=None, init=False, compare=False, repr=False)

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec("image-text")

    def check(self, survey: Survey) -> None:
        """Raise VitrailError for fewer than two images, or images without captions."""
        survey.require_images(2)
        _require_captions(survey.source)
        captions = {text for sample in survey.source.samples for text in sample.labels}
        if len(captions) < 2:
            raise VitrailError(
                f"{survey.source.name} has the caption {short(captions.pop())} only: there is nothing to learn, give "
                "images captions of their own"
            )

    def fitted(self, samples: Sequence[Sample], names: Names) -> "ImageText":
        """Return the task with a tokenizer whose vocabulary is that of the training captions."""
        return _with(ImageText(), learn_tokenizer([text for sample in samples for text in sample.labels]), None)

    def bound(self, config: ModelConfig, tokenizer: str | None, model: Any = None) -> "ImageText":
        """Return the task with the tokenizer and the text encoder of a checkpoint.

        Raises:
            VitrailError: it has no tokenizer.
        """
        found = tokenizer_for(config, tokenizer)
        return _with(ImageText(), found, TextEncoder(model, found) if isinstance(model, DualEncoder) else None)

    @property
    def tokenizer_json(self) -> str:
        """Content of the `tokenizer.json` for a fresh model."""
        return self._words().to_json()

    def model_fields(self, config: ModelConfig, names: Names) -> Mapping[str, Any]:
        """Size of the vocabulary, and length of texts."""
        return {"vocab_size": self._words().vocab_size, "context_length": self._words().context_length}

    def example_target(self, config: ModelConfig, names: Names) -> Int[Tensor, "1 L"]:
        _, tokens = config.example_inputs()
        return tokens

    def warnings(self, samples: Sequence[Sample]) -> list[str]:
        """Sentences about unknown words and captions that are truncated, among the first captions."""
        words, found = self._words(), []
        captions = [text for sample in samples[:_CHECKED] for text in sample.labels]
        if unknown := words.unknown(captions):
            more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
            found.append(
                "words of the captions that are not in the vocabulary, which has those that occurred at least twice "
                f"when it was learned: {', '.join(unknown[:_NAMED])}{more}"
            )
        if long := sum(length > words.context_length for length in words.lengths(captions)):
            captions_are = "1 caption is" if long == 1 else f"{long:,} captions are"
            found.append(f"{captions_are} longer than {words.context_length} tokens: the end is not read")
        return found

    def targets(self, samples: Sequence[Sample], names: Names) -> list[Captions]:
        """The captions of each sample."""
        return [tuple(sample.labels) for sample in samples]

    def target_reader(self, samples: Sequence[Sample], names: Names) -> Targets:
        """Function index -> token ids of all captions of the sample."""
        return CaptionReader(tuple(self.targets(samples, names)), self._words())

    def written(self, sample: Sample, names: Names) -> str:
        return " | ".join(sample.labels)

    def label_columns(self, names: Names) -> dict[str, type[str] | type[float]]:
        return {"caption": str}

    def match(self, source: Source, names: Names) -> Source:
        same_kind(self, source)
        _require_captions(source)
        return source

    def decode(self, output: Tensor, names: Names, top_k: int | None = None) -> Never:
        raise VitrailError(f"this checkpoint compares images with texts: {_WAY_OUT}")

    def decoded(self, output: Float[Tensor, "B E"]) -> Float[Tensor, "B E"]:
        """Unit vectors of the images."""
        return F.normalize(output.flatten(1), dim=-1)

    def failed(self, path: str, error: str) -> Prediction:
        return Prediction(path=path, error=error)

    def columns(self, names: Names, top_k: int) -> dict[str, type[str] | type[float]]:
        return {}

    def cells(self, prediction: Prediction, names: Names, top_k: int) -> list[str | float | None]:
        return []

    def to_dict(self, prediction: Prediction) -> dict[str, Any]:
        return {}

    def metrics(self, names: Names) -> RetrievalMetrics:
        return RetrievalMetrics(self.text_encoder())

    def text_encoder(self) -> TextEncoder:
        """The text encoder of the model that the task is bound to."""
        assert self.encoder is not None, "see `bound`"
        return self.encoder

    def mistakes(self, output: Float[Tensor, "n E"], target: Any, names: Names, most: int) -> list[Mistake]:
        """The images for which another caption fits best, those first whose own fit least compared with it."""
        texts, own = different(target), ownership(target, different(target))
        similarity = self.decoded(output) @ self.text_encoder().vectors(texts).t()
        found, places = similarity.masked_fill(own, -torch.inf).max(dim=1)
        best = similarity.masked_fill(~own, -torch.inf).amax(dim=1)
        behind = found - best
        worst = [index for index in behind.argsort(descending=True, stable=True)[:most].tolist() if behind[index] > 0]
        return [
            Mistake(
                index=index,
                predicted=texts[places[index]],
                truth=" | ".join(target[index]),
                size=f"similarity {found[index]:.2f} against {best[index]:.2f}",
            )
            for index in worst
        ]

    def label_words(self, target: Any, names: Names) -> str:
        """The captions, or what the tokenizer keeps of one that was drawn."""
        return self._words().decode(target) if isinstance(target, Tensor) else " | ".join(target)

    def count_words(self, names: Names) -> str:
        words = self._words()
        return f"captions; {words.vocab_size:,} tokens, up to {words.context_length} in a text"

    def describe(self, names: Names) -> str:
        return "a vector to compare with those of texts"

    def report(self, evaluation: RetrievalEvaluation) -> list[str]:
        """HTML section: retrieval in both directions."""
        return [section("Retrieval", table(_HEAD, _rows(evaluation)), _NOTE)]

    def summary(self, evaluation: RetrievalEvaluation) -> str:
        rows = [("images", f"{evaluation.count:,}"), *evaluation.facts(), ("loss", f"{evaluation.loss:.4f}")]
        return "\n\n".join([plain_table(rows[0], rows[1:]), *evaluation.cautions()])

    def _words(self) -> Tokenizer:
        assert self.tokenizer is not None, "see `fitted` and `bound`"
        return self.tokenizer


def _with(task: ImageText, tokenizer: Tokenizer, encoder: TextEncoder | None) -> ImageText:
    object.__setattr__(task, "tokenizer", tokenizer)
    object.__setattr__(task, "encoder", encoder)
    return task


def _require_captions(source: Source) -> None:
    if source.label_kind != "texts" or not all(sample.labels for sample in source.samples):
        raise VitrailError(
            f"{source.name} has no caption for each image: give a table with the columns path and caption, or another "
            "source of captions"
        )


_HEAD = ("query", "R@1", "R@5", "R@10", "candidates")
_NOTE = (
    "R@k: how often a right answer is among the first k, by similarity. An image is looked up among all different "
    "captions, a caption among all images; equal captions are one."
)


def _rows(found: RetrievalEvaluation) -> list[tuple[str, ...]]:
    def row(query: str, values: Mapping[int, float], among: str) -> tuple[str, ...]:
        return (query, *(f"{100 * value:.1f} %" for value in values.values()), among)

    return [
        row("image", found.by_image, f"{found.texts:,} captions"),
        row("caption", found.by_text, f"{found.count:,} images"),
    ]
