"""A classifier's evaluation as HTML sections of the report, and as text for a terminal."""

import math
from collections.abc import Sequence
from html import escape

from ..pages.charts import reliability_chart
from ..pages.html import section, table
from ..tables import plain_table
from .classification_evaluation import ClassEvaluation
from .worth import with_margin

LARGEST_MATRIX = 30
"""Above this number of classes, the report lists the most confused pairs instead of the confusion matrix."""

_CONFUSION_CLASSES, _SHORT = 20, 4


def class_sections(evaluation: ClassEvaluation) -> list[str]:
    """HTML sections: confusion, metrics of each class, calibration; those that do not apply are left out."""
    parts = [_confusion(evaluation), _per_class(evaluation), _calibration(evaluation)]
    return [part for part in parts if part]


def _confusion(evaluation: ClassEvaluation) -> str:
    if evaluation.confusion is None:
        return ""
    names = [row.name for row in evaluation.per_class]
    if len(names) > LARGEST_MATRIX:
        pairs = confused_pairs(evaluation.confusion)[:LARGEST_MATRIX]
        rows = [(names[truth], names[guess], count, _percent(share)) for truth, guess, count, share in pairs]
        body = table(("true class", "taken for", "images", "of the class"), rows, text=2)
        return section("Confusion", body, f"The most confused pairs of {len(names)} classes.")
    body = f'<div class="scroll">{_matrix(names, evaluation.confusion)}</div>'
    return section("Confusion", body, "A row is a true class, a column a predicted one.")


def _matrix(names: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    heads = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in names)
    rows = ""
    for truth, counts in enumerate(confusion):
        total = sum(counts) or 1
        cells = ""
        for guess, count in enumerate(counts):
            share, hue = count / total, "--glass" if truth == guess else "--ruby"
            kind = "zero" if count == 0 else "deep" if share > 0.45 else ""
            part = 0 if count == 0 else 12 + 88 * share
            cells += f'<td class="{kind}" style="--hue:var({hue});--part:{part:.0f}%">{count}</td>'
        rows += f'<tr><th scope="row">{escape(names[truth])}</th>{cells}</tr>'
    kind = "confusion short" if all(len(name) <= 3 for name in names) else "confusion"
    return f'<table class="{kind}"><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def confused_pairs(confusion: Sequence[Sequence[int]]) -> list[tuple[int, int, int, float]]:
    """(true class, predicted class, count, fraction of the true class), the most frequent confusion first."""
    pairs = [
        (truth, guess, count, count / sum(counts))
        for truth, counts in enumerate(confusion)
        for guess, count in enumerate(counts)
        if count and truth != guess
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], -pair[3], pair[:2]))


def _per_class(evaluation: ClassEvaluation) -> str:
    multi = evaluation.labels == "many"
    fitted = any(row.threshold is not None for row in evaluation.per_class)
    more = [*(["average precision"] if multi else []), *(["threshold"] if fitted else [])]
    head = ["class", "images", "precision", "recall", "F1", *more]
    rows = [
        [row.name, row.support, _percent(row.precision), _percent(row.recall), _percent(row.f1)]
        + ([_percent(row.average_precision)] if multi else [])
        + ([_percent(row.threshold)] if fitted else [])
        for row in evaluation.per_class
    ]
    note = ""
    if evaluation.macro_f1 is not None and evaluation.raw_macro_f1 is not None:
        note = (
            "A class is predicted from its threshold on, the probability with the best F1 on the validation images. "
            f"Mean F1 here {_percent(evaluation.macro_f1)}; with thresholds of 50 %, "
            f"{_percent(evaluation.raw_macro_f1)}."
        )
    body = table(head, rows, sortable=True)
    if len(rows) > LARGEST_MATRIX:
        body = f"<details><summary>All {len(rows)} classes</summary>{body}</details>"
    return section("Class by class", body, note)


def _calibration(evaluation: ClassEvaluation) -> str:
    if evaluation.reliability is None or evaluation.ece is None:
        return ""
    chart = reliability_chart([(row.low, row.high, row.count, row.accuracy) for row in evaluation.reliability])
    without = "" if evaluation.raw_ece is None else f", {100 * evaluation.raw_ece:.1f} % without the temperature"
    note = (
        f"Expected calibration error {100 * evaluation.ece:.1f} % ({len(evaluation.reliability)} bins{without}). Bars "
        "below the dashed line: the model is overconfident; above it: underconfident. The darker a "
        "bar, the more images."
    )
    return section("Calibration", f'<div class="charts">{chart}</div>', note)


def _percent(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{100 * value:.1f} %"


def class_summary(found: ClassEvaluation) -> str:
    """Text with the main metrics, a row for each class, and for few classes the confusion matrix."""
    parts = [_overall(found), *found.cautions(), _class_rows(found)]
    if found.confusion and len(found.confusion) <= _CONFUSION_CLASSES:
        parts.append(_confusion_text(found))
    return "\n\n".join(parts)


def _overall(found: ClassEvaluation) -> str:
    margin = None if found.loss_margin is None else f"{found.loss_margin:.4f}"
    rows = [
        ("images", f"{found.count:,}"),
        *found.facts(),
        ("all classes right", _exact_percent(found.subset_accuracy)),
        ("micro F1", _exact_percent(found.micro_f1)),
        ("loss (nats)", with_margin(f"{found.loss:.4f}", margin)),
        ("calibration error (ECE)", _exact_percent(found.ece)),
        ("without the temperature", _exact_percent(found.raw_ece)),
        ("mean F1 with thresholds of 50 %", _exact_percent(found.raw_macro_f1)),
    ]
    known = list(dict(row for row in rows if row[1] != "–").items())
    return plain_table(known[0], known[1:])


def _class_rows(found: ClassEvaluation) -> str:
    several = found.labels == "many"
    fitted = any(row.threshold is not None for row in found.per_class)
    more = (*(("average precision",) if several else ()), *(("threshold",) if fitted else ()))
    header = ("class", "images", "precision", "recall", "F1", *more)
    rows = [
        (
            row.name,
            f"{row.support:,}",
            *map(_exact_percent, (row.precision, row.recall, row.f1)),
            *((_exact_percent(row.average_precision),) if several else ()),
            *((_exact_percent(row.threshold),) if fitted else ()),
        )
        for row in found.per_class
    ]
    return plain_table(header, rows)


def _confusion_text(found: ClassEvaluation) -> str:
    assert found.confusion is not None
    names = [row.name for row in found.per_class]
    columns, labels = names, names
    if max(map(len, names)) > _SHORT:  # long names label the rows, numbers the columns
        columns = [str(index + 1) for index in range(len(names))]
        labels = [f"{number} {name}" for number, name in zip(columns, names, strict=True)]
    rows = [
        (label, *(str(count) if count else "·" for count in counts))
        for label, counts in zip(labels, found.confusion, strict=True)
    ]
    return "confusion: a row a true class, a column a predicted one\n" + plain_table(("", *columns), rows)


def _exact_percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f} %"
