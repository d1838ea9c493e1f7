"""An evaluation as text for people."""

from ..tables import plain_table
from .metrics import Evaluation

_CONFUSION_CLASSES, _SHORT = 20, 4


def summary(found: Evaluation) -> str:
    """The numbers of all, a row for each class, and for few classes the confusion matrix."""
    parts = [_overall(found), _per_class(found)]
    if found.confusion and len(found.confusion) <= _CONFUSION_CLASSES:
        parts.append(_confusion(found))
    return "\n\n".join(parts)


def _overall(found: Evaluation) -> str:
    rows = [
        ("pictures", f"{found.count:,}"),
        ("top-1 accuracy", _percent(found.top1)),
        ("top-5 accuracy", _percent(found.top5)),
        ("mean average precision", _percent(found.mean_average_precision)),
        ("all classes right", _percent(found.subset_accuracy)),
        ("micro F1", _percent(found.micro_f1)),
        ("macro F1", _percent(found.macro_f1)),
        ("loss (nats)", f"{found.loss:.4f}"),
        ("calibration error (ECE)", _percent(found.ece)),
    ]
    known = [row for row in rows if row[1] != "–"]
    return plain_table(known[0], known[1:])


def _per_class(found: Evaluation) -> str:
    several = found.task == "multi"
    header = ("class", "pictures", "precision", "recall", "F1", *(("average precision",) if several else ()))
    rows = [
        (
            row.name,
            f"{row.support:,}",
            *map(_percent, (row.precision, row.recall, row.f1)),
            *((_percent(row.average_precision),) if several else ()),
        )
        for row in found.per_class
    ]
    return plain_table(header, rows)


def _confusion(found: Evaluation) -> str:
    assert found.confusion is not None
    names = [row.name for row in found.per_class]
    columns, labels = names, names
    if max(map(len, names)) > _SHORT:  # long names stand in front of the rows, their numbers above the columns
        columns = [str(index + 1) for index in range(len(names))]
        labels = [f"{number} {name}" for number, name in zip(columns, names, strict=True)]
    rows = [
        (label, *(str(count) if count else "·" for count in counts))
        for label, counts in zip(labels, found.confusion, strict=True)
    ]
    return "confusion: a row a true class, a column a predicted one\n" + plain_table(("", *columns), rows)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"
