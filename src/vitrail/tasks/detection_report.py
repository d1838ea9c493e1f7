"""Sections of the report, and text for a terminal, of detected objects."""

from ..pages.html import section, table
from ..tables import plain_table
from .detection_metrics import DetectionEvaluation

_CLASSES = ("class", "objects", "AP", "AP50")
_SHOWN = ("threshold", "probability", "precision", "recall", "F1")


def object_sections(evaluation: DetectionEvaluation) -> list[str]:
    """HTML sections: a table of the classes, and what the objects that predictions show are worth."""
    note = "AP: average precision over IoUs of 0.5 to 0.95 between found and true boxes; AP50: at an IoU of 0.5."
    shown = (
        "Predictions and pictures show the objects from the model's threshold on; AP counts all. Precision, recall and "
        "F1 are at an IoU of 0.5."
    )
    return [
        section("Classes", table(_CLASSES, _class_rows(evaluation)), note),
        section("Objects that predictions show", table(_SHOWN, _shown_rows(evaluation)), shown),
    ]


def object_summary(evaluation: DetectionEvaluation) -> str:
    """The evaluation as text for a terminal."""
    overall = [("images", f"{evaluation.count:,}"), ("objects", f"{evaluation.objects:,}"), *evaluation.facts()]
    tables = plain_table(overall[0], overall[1:]), plain_table(_CLASSES, _class_rows(evaluation))
    return "\n\n".join([tables[0], *evaluation.cautions(), tables[1]])


def _class_rows(evaluation: DetectionEvaluation) -> list[tuple[str, str, str, str]]:
    return [(one.name, f"{one.objects:,}", _text(one.ap), _text(one.ap50)) for one in evaluation.per_class]


def _shown_rows(evaluation: DetectionEvaluation) -> list[tuple[str, str, str, str, str]]:
    known = {"the model's": evaluation.shown, "the usual one": evaluation.usual}
    return [
        (name, f"{one.threshold:.3f}", _text(one.precision), _text(one.recall), _text(one.f1))
        for name, one in known.items()
    ]


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
