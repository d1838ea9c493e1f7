"""What tasks return: predictions, evaluations, and parts of the report."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jaxtyping import UInt8
from torch import Tensor

from ..data.samples import BadFile
from .worth import Baseline, few_images

Names = Sequence[str]
"""Names of the outputs: classes, or the numbers of a regression."""

Cells = tuple[str | float | None, ...]
"""Cells of a row of a table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """Prediction for an image; each task adds its own fields.

    Attributes:
        path: path of the image, as the user gave it or relative to the given folder.
        error: the reason if there is no prediction, or None.
        label: the true label, as in `Task.true_cells`; empty if it is not known.
        size: (height, width) of the image in pixels; None if it could not be read.
    """

    path: str = ""
    error: str | None = None
    label: Cells = ()
    size: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation(ABC):
    """Evaluation on labelled images; each task adds its own metrics.

    Attributes:
        count: number of images.
        loss: mean loss, as the task defines it.
        note: which images they are, or None.
        loss_margin: half of the 95 % interval of the loss; None if it is not known.
        bad: files of the source that could not be used and were left out.
    """

    count: int
    loss: float
    note: str | None = None
    loss_margin: float | None = None
    bad: tuple[BadFile, ...] = ()

    @property
    @abstractmethod
    def quality(self) -> float:
        """Number by which checkpoints are compared; higher is better."""

    @abstractmethod
    def headline(self) -> dict[str, float]:
        """Name -> value of the main metrics: the columns of the metric log without the prefix val_ or test_."""

    @abstractmethod
    def facts(self) -> list[tuple[str, str]]:
        """(name, value with its unit) of the main metrics, for the report, the model card and the terminal."""

    def baseline(self) -> Baseline | None:
        """The best constant answer, to compare with; by default None."""
        return None

    def cautions(self) -> list[str]:
        """Sentences on what the result is worth: few images, or no better than a constant answer."""
        baseline = self.baseline()
        return [*few_images(self.count), *([baseline.sentence] if baseline and baseline.sentence else [])]

    @abstractmethod
    def card_metrics(self) -> dict[str, float]:
        """Metric type, as on the model hubs -> value, for the front matter of the model card."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; metrics that do not apply are left out."""


class Metrics(ABC):
    """Collects outputs and targets batch by batch, and computes an evaluation."""

    @abstractmethod
    def update(self, output: Any, target: Any) -> None:
        """Add a batch: the model's output, float32 on the CPU, and the targets of its samples, see `Task.targets`."""

    @abstractmethod
    def compute(self) -> Evaluation:
        """Compute the evaluation over all batches.

        Raises:
            VitrailError: no samples, or outputs that are not finite.
        """

    def quality(self) -> float:
        """The quality alone, see `Evaluation.quality`: quicker than `compute` where that has costly intervals."""
        return self.compute().quality


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """A line chart of the report: columns of the metric log over the epochs.

    Attributes:
        title: title of the chart.
        columns: name of a line -> its column, such as {"top-1": "val_top1"}; missing columns are left out.
        percent: whether the values are fractions, to show in per cent.
    """

    title: str
    columns: Mapping[str, str]
    percent: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """A wrong prediction: index of the sample, predicted and true label in words, and the size of the error."""

    index: int
    predicted: str
    truth: str
    size: str


class Document(Protocol):
    """Collects predictions for one JSON file."""

    def add(self, prediction: Any) -> None:
        """Add the prediction for an image."""

    def content(self) -> dict[str, Any]:
        """The content of the file: plain JSON values."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture for the report: what it shows, as "truth", and the picture."""

    caption: str
    image: UInt8[Tensor, "3 H W"]
