"""Columns of a table of predictions."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..data.coco_ids import CocoIds
from ..tasks.outcomes import Prediction
from ..tasks.task import Task


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns of a table of predictions.

    Attributes:
        task: defines the columns and the cells.
        names: names of the model's outputs.
        top_k: number of classes in a row.
        labelled: whether there are columns for the true label.
        ids: see `Task.document`.
    """

    task: Task
    names: Sequence[str]
    top_k: int
    labelled: bool = False
    ids: CocoIds | None = None

    def columns(self) -> dict[str, type[str] | type[float]]:
        """Column -> type of its cells."""
        labels = self.label_columns()
        # An output may be named like one of the other columns.
        taken = {"path", "error", *labels}
        own = {
            f"predicted_{name}" if name in taken else name: kind
            for name, kind in self.task.columns(self.names, self.top_k).items()
        }
        return {"path": str, **labels, **own, "error": str}

    def label_columns(self) -> dict[str, type[str] | type[float]]:
        """Columns of the true label."""
        return self.task.label_columns(self.names) if self.labelled else {}

    def cells(self, prediction: Prediction) -> list[str | float | None]:
        """Cells of one row."""
        own = self.task.cells(prediction, self.names, self.top_k)
        return [prediction.path, *self.label_cells(prediction), *own, prediction.error]

    def label_cells(self, prediction: Prediction) -> list[str | float | None]:
        """Cells of the true label."""
        count = len(self.label_columns())
        return [*prediction.label, *[None] * (count - len(prediction.label))][:count]

    def to_dict(self, prediction: Prediction) -> dict[str, object]:
        """Return a row as plain JSON values."""
        label = dict(zip(self.label_columns(), self.label_cells(prediction), strict=True))
        return {"path": prediction.path, **label, **self.task.to_dict(prediction), "error": prediction.error}
