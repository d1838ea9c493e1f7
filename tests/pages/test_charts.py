"""The scatter chart: where its dots lie, by arithmetic on the axes, and what it says in words."""

import re
from html.parser import HTMLParser

import pytest

from vitrail.pages.charts import HEIGHT, WIDTH, line_chart, scatter_chart


def dots(chart: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', chart)]


def test_dots_lie_in_proportion_to_their_values() -> None:
    chart = scatter_chart([(0, 10), (1, 20), (4, 30)], label="Error", x_label="age", y_label="error")
    (x0, y0), (x1, y1), (x2, y2) = dots(chart)
    assert (x1 - x0) / (x2 - x0) == pytest.approx(1 / 4, abs=0.002)
    assert (y0 - y1) / (y0 - y2) == pytest.approx(1 / 2, abs=0.002)
    assert x0 < x1 < x2 <= WIDTH
    assert 0 <= y2 < y1 < y0 <= HEIGHT


def test_the_diagonal_joins_points_whose_values_are_equal() -> None:
    chart = scatter_chart([(2, 2), (8, 8), (3, 6)], label="Prices", x_label="true", y_label="predicted", diagonal=True)
    a, b, c = dots(chart)
    line = re.search(r'x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)" style="stroke:var\(--ruby\)', chart)
    assert line is not None
    x0, y0, x1, y1 = map(float, line.groups())
    slope = (y1 - y0) / (x1 - x0)
    for x, y in (a, b):
        assert y == pytest.approx(y0 + slope * (x - x0), abs=0.2)
    assert c[1] < y0 + slope * (c[0] - x0) - 5  # above the line: predicted is more than true


def test_words_names_and_values_that_are_not_finite() -> None:
    points = [(1.0, 2.0), (float("nan"), 1.0), (3.0, float("inf"))]
    chart = scatter_chart(points, label="Prices", x_label="a<b", y_label="c", names=["<i>x</i>", "y"])
    assert len(dots(chart)) == 1
    assert "Prices: 1 points, 2 not finite; a&lt;b 1 to 1, c 2 to 2" in chart
    assert "&lt;i&gt;x&lt;/i&gt;: 1, 2" in chart
    assert "<i>" not in chart
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append(tag)  # type: ignore[method-assign]
    parser.feed(chart)
    assert tags.count("svg") == tags.count("figure") == 1
    assert scatter_chart([(float("nan"), 1.0)], label="", x_label="", y_label="") == ""


def test_many_dots_are_smaller() -> None:
    few, many = (scatter_chart([(i, i) for i in range(n)], label="", x_label="", y_label="") for n in (200, 201))
    assert 'r="3.5"' in few
    assert 'r="2"' in many


@pytest.mark.parametrize("accuracies", [[1.0, 1.0], [1.0], [0.4, 0.99], [0.0, 0.0], [0.3], [0.2, 1.0]])
def test_an_axis_of_accuracies_stays_between_0_and_100_per_cent(accuracies: list[float]) -> None:
    points = list(enumerate(accuracies, start=1))
    chart = line_chart({"top-1": points}, label="Accuracy", x_label="epoch", percent=True)
    marks = [float(mark) for mark in re.findall(r">(-?[\d.]+) %</text>", chart)]
    assert marks
    assert 0 <= min(marks) <= max(marks) <= 100
    assert all(0 <= y <= HEIGHT for _, y in dots(chart))


def test_a_curve_of_two_evaluations_starts_at_epoch_0_and_shows_both() -> None:
    chart = line_chart({"training": [(1, 2.0), (2, 1.0)]}, label="Loss", x_label="epoch")
    (x1, _), (x2, _) = dots(chart)
    assert x2 - x1 == pytest.approx(x1 - 52, abs=0.2), "epoch 0 is at the axis"
    assert dots(line_chart({"a": [(x, 1.0 + x) for x in range(9)]}, label="", x_label="")) == []


def test_a_logarithmic_axis_and_intervals() -> None:
    chart = line_chart(
        {"a": [(10, 0.2), (100, 0.4), (1000, 0.6)]},
        label="Accuracy",
        x_label="images",
        percent=True,
        log_x=True,
        intervals={"a": [(100, 0.3, 0.5)]},
    )
    (x0, y0), (x1, y1), (x2, y2) = dots(chart)
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    bar = re.search(r'x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)" style="stroke:var\(--glass\)', chart)
    assert bar is not None
    left, bottom, right, top = map(float, bar.groups())
    assert left == right == x1
    assert bottom - y1 == pytest.approx(y1 - top, abs=0.2)  # 0.4 is in the middle
    assert bottom - top == pytest.approx((y0 - y2) / 2, abs=0.2)


def test_every_line_is_drawn() -> None:
    chart = line_chart({f"line {n}": [(0, n), (1, n)] for n in range(8)}, label="y", x_label="x")
    assert chart.count("<polyline") == 8


def test_unconnected_points_are_dots_without_a_line():
    chart = line_chart({"a": [(1, 1), (2, 3)], "b": [(1, 2), (2, 2)]}, label="y", x_label="x", unconnected=("a",))
    assert chart.count("<polyline") == 1
    assert chart.count("<circle") == 4
