"""The embedding task: a vector for each image, for search, clustering and other models. It has no labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Never

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..data.samples import Source
from ..data.survey import Survey
from ..errors import VitrailError
from ..task_spec import TaskSpec
from .outcomes import Curve, Mistake, Names, Prediction
from .task import Task

_FEWEST_NEIGHBOURS = 10
_WAY_OUT = "train a classifier on it with `vitrail train SOURCE --weights CHECKPOINT --recipe probe`"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VectorPrediction(Prediction):
    """Embedding of an image, (D,) float32; None if the image could not be read."""

    vector: Float[Tensor, " D"] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Embedding(Task):
    """Embedding: the output is the model's pooled vector, (B, D), not normalised."""

    name: ClassVar[str] = "embedding"
    card_type: ClassVar[str] = "image-feature-extraction"
    objective: ClassVar[str] = ""
    curve: ClassVar[Curve] = Curve(title="Validation loss", columns={"loss": "val_loss"})

    decoded_name: ClassVar[str] = "vector"

    @property
    def spec(self) -> TaskSpec:
        return TaskSpec("embedding")

    def check(self, survey: Survey) -> None:
        raise VitrailError("an embedding has no labels to learn from: use `vitrail pretrain`, or train another task")

    def targets(self, samples: Sequence[Any], names: Names) -> Never:
        raise VitrailError(f"an embedding has no labels: {_WAY_OUT}")

    def written(self, sample: Any, names: Names) -> str:
        return ""

    def match(self, source: Source, names: Names) -> Never:
        raise VitrailError(f"this checkpoint outputs a vector, not classes that labels could match: {_WAY_OUT}")

    def decoded(self, output: Float[Tensor, "B *rest"]) -> Float[Tensor, "B D"]:
        """The vectors."""
        return output.flatten(1)

    def decode(
        self, output: Float[Tensor, "B D"], names: Names, top_k: int | None = None
    ) -> Sequence[VectorPrediction]:
        """Return a vector for each image."""
        return [VectorPrediction(vector=vector) for vector in output.flatten(1)]

    def answers(self, output: Float[Tensor, "B D"], names: Names) -> list[Any]:
        """For each image the one of the others whose vector is nearest, by cosine: what vectors are searched for.

        With fewer than ten images, which have too few neighbours to compare, the numbers themselves.
        """
        if len(output) < _FEWEST_NEIGHBOURS:
            return Task.answers(self, output, names)
        vectors = F.normalize(output.flatten(1), dim=1)
        return (vectors @ vectors.t()).fill_diagonal_(-2).argmax(dim=1).tolist()

    def failed(self, path: str, error: str) -> VectorPrediction:
        return VectorPrediction(path=path, error=error)

    def columns(self, names: Names, top_k: int) -> dict[str, type[str] | type[float]]:
        return {"vector": str}

    def cells(self, prediction: VectorPrediction, names: Names, top_k: int) -> list[str | float | None]:
        """One cell with the numbers, separated by spaces; for arrays use `vitrail embed`."""
        if prediction.vector is None:
            return [None]
        return [" ".join(f"{value:.6g}" for value in prediction.vector.tolist())]

    def to_dict(self, prediction: VectorPrediction) -> dict[str, Any]:
        return {"vector": None if prediction.vector is None else prediction.vector.tolist()}

    def metrics(self, names: Names) -> Never:
        raise VitrailError(f"this checkpoint outputs a vector, not classes, so there is nothing to score: {_WAY_OUT}")

    def mistakes(self, output: Tensor, target: Any, names: Names, most: int) -> list[Mistake]:
        return []

    def label_words(self, target: Any, names: Names) -> str:
        return ""

    def count_words(self, names: Names) -> str:
        return "a vector"

    def describe(self, names: Names) -> str:
        return "a vector, its embedding"

    def report(self, evaluation: Any) -> list[str]:
        return []

    def summary(self, evaluation: Any) -> str:
        return ""
