"""Sections of the report, and text for a terminal, of predicted numbers."""

from html import escape

from ..pages.charts import scatter_chart
from ..pages.html import section, table
from ..tables import number_text, plain_table
from .conformal import fewest_images
from .regression_metrics import ValueEvaluation
from .value_score import ValueScore
from .worth import with_margin


def value_sections(evaluation: ValueEvaluation) -> list[str]:
    """HTML sections: a scatter chart of each number, a table of the errors, and intervals or why there are none."""
    charts = "".join(
        f"<div><h3>{title}</h3>{chart}</div>"
        for title, chart in (
            (
                escape(row.name),
                scatter_chart(points, label=row.name, x_label="truth", y_label="predicted", diagonal=True),
            )
            for row, points in zip(evaluation.per_value, evaluation.points, strict=True)
        )
    )
    note = "A dot is a held-out image; on the dashed line the prediction is exact."
    return [
        section("Predicted and true numbers", f'<div class="charts">{charts}</div>', note),
        section("Errors", table(*_errors(evaluation))),
        *_intervals(evaluation),
    ]


def value_summary(evaluation: ValueEvaluation) -> str:
    """The evaluation as text for a terminal."""
    margin = None if evaluation.loss_margin is None else f"{evaluation.loss_margin:.4f}"
    loss = with_margin(f"{evaluation.loss:.4f}", margin)
    overall = [("images", f"{evaluation.count:,}"), *evaluation.facts(), ("loss", loss)]
    parts = [plain_table(overall[0], overall[1:]), *evaluation.cautions(), plain_table(*_errors(evaluation))]
    return "\n\n".join([*parts, *_no_intervals(evaluation)])


def _errors(evaluation: ValueEvaluation) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of the table of errors."""
    explained = ("R²",) if evaluation.quantile is None else ("pinball loss", "truths up to it", "D²")
    head = ("number", "mean absolute error", "root mean squared error", *explained)
    return head, [
        (
            row.name,
            row.error_text,
            number_text(row.root_mean_squared_error),
            *((row.r2_text,) if evaluation.quantile is None else _quantile_cells(row)),
        )
        for row in evaluation.per_value
    ]


def _quantile_cells(row: ValueScore) -> tuple[str, str, str]:
    loss = "–" if row.pinball_loss is None else number_text(row.pinball_loss)
    return loss, row.at_most_text, row.d2_text


def _intervals(evaluation: ValueEvaluation) -> list[str]:
    """The table of intervals, or a sentence on why there are none."""
    if evaluation.level is None or evaluation.coverage is None:
        return [section("Prediction intervals", "", sentence) for sentence in _no_intervals(evaluation)]
    level = f"{100 * evaluation.level:g} %"
    rows = [
        (row.name, level, row.coverage_text, "–" if row.width is None else number_text(row.width))
        for row in evaluation.per_value
    ]
    note = (
        "An interval is the prediction ± a distance that the errors of the validation images gave (split conformal). "
        "Coverage is the fraction of the evaluated images whose true number is in its interval."
    )
    return [section("Prediction intervals", table(("number", "level", "coverage", "width"), rows), note)]


def _no_intervals(evaluation: ValueEvaluation) -> list[str]:
    if evaluation.level is None or evaluation.coverage is not None:
        return []
    return [
        f"The predictions have no intervals: a level of {100 * evaluation.level:g} % needs at least "
        f"{fewest_images(evaluation.level)} validation images, and this model was trained with fewer, or by an earlier "
        "version."
    ]
