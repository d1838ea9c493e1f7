"""Charts as inline SVG: lines, dots, scatter, reliability. Colours are the page's, so both themes work."""

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]
"""(x, y) pairs."""

HUES = ("--glass", "--ruby", "--leaf", "--amber", "--soft", "--ink")
WIDTH, HEIGHT = 360, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 10, 38
_DOTTED = 6
"""A line of at most so many points has a dot at each of them."""


def line_chart(
    series: Mapping[str, Points],
    *,
    label: str,
    x_label: str,
    percent: bool = False,
    log_x: bool = False,
    intervals: Mapping[str, Sequence[tuple[float, float, float]]] | None = None,
    unconnected: Collection[str] = (),
) -> str:
    """A chart of lines over a common x axis from 0, with a key above, as HTML; few points are drawn as dots too.

    Args:
        series: name -> (x, y) in order; points whose y is not finite are left out.
        label: the text alternative: the quantity of the y axis.
        x_label: the title of the x axis.
        percent: y is a fraction; 1 is written as 100 %, and the axis does not exceed it.
        log_x: the x axis is logarithmic, from the smallest x.
        intervals: name -> (x, low, high), drawn as vertical bars.
        unconnected: names of series that are dots without a line, such as measurements that do not follow each other.
    """
    bars = {name: list(values) for name, values in (intervals or {}).items()}
    lines = {name: [point for point in points if math.isfinite(point[1])] for name, points in series.items()}
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return ""
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    ys += [end for values in bars.values() for _, *ends in values for end in ends]
    left = min(xs) if log_x else min(0, *xs)
    if percent:
        frame = _Frame(left, max(xs), min(ys), max(ys), most=1.0 if max(ys) <= 1 else math.inf, log_x=log_x)
    else:
        frame = _Frame(left, max(xs), min(0, *ys), max(ys), log_x=log_x)
    drawn, keys = "", ""
    for hue, (name, points) in zip(itertools.cycle(HUES), lines.items(), strict=False):
        shape = frame.dots if name in unconnected else frame.line
        drawn += shape(points, hue) + frame.bars(bars.get(name, ()), hue)
        keys += f'<span><i style="color:var({hue})"></i>{escape(name)}</span>'
    spoken = "; ".join(f"{name} ends at {_number(points[-1][1], percent)}" for name, points in lines.items())
    return (
        f'<figure><div class="key">{keys}</div>'
        f"{_svg(f'{label}: {spoken}', frame.axes(x_label, percent) + drawn)}</figure>"
    )


def dot_chart(rows: Mapping[str, Sequence[float]], *, label: str, x_label: str) -> str:
    """A chart with a column of dots for each name, from left to right, as HTML.

    Args:
        rows: name -> values; columns are numbered from 0.
        label: the text alternative: the quantity of the y axis.
        x_label: the title of the x axis.
    """
    if not rows:
        return ""
    frame = _Frame(0, len(rows) - 1, 0, max(max(values) for values in rows.values()))
    frame.x_ticks = [place for place in frame.x_ticks if place == round(place)]  # there is no column 0.2
    drawn = ""
    for place, (name, values) in enumerate(rows.items()):
        for number, value in enumerate(values):
            drawn += frame.dot(place, value, f"{name}, head {number}: {_number(value, False)}")
    columns = list(rows.values())
    spoken = "; ".join(
        f"{where} {_number(min(values), False)} to {_number(max(values), False)}"
        for where, values in (("first", columns[0]), ("last", columns[-1]))
    )
    return f"<figure>{_svg(f'{label}: {spoken}', frame.axes(x_label, False) + drawn)}</figure>"


def scatter_chart(
    points: Points, *, label: str, x_label: str, y_label: str, diagonal: bool = False, names: Sequence[str] = ()
) -> str:
    """A scatter chart, as HTML: a dot for each point, such as predicted against true values.

    Args:
        points: (x, y); points that are not finite are left out, and counted in the text alternative.
        label: the beginning of the text alternative.
        x_label, y_label: titles of the axes.
        diagonal: draw the line y = x and give both axes the same range: for predictions against truth.
        names: names of the points, shown on hover.
    """
    known = [*names, *[""] * (len(points) - len(names))]
    finite = [(x, y, name) for (x, y), name in zip(points, known, strict=True) if math.isfinite(x) and math.isfinite(y)]
    if not finite:
        return ""
    xs, ys = [x for x, _, _ in finite], [y for _, y, _ in finite]
    x_range, y_range = (min(xs), max(xs)), (min(ys), max(ys))
    if diagonal:
        x_range = y_range = (min(xs + ys), max(xs + ys))
    frame = _Frame(*x_range, *y_range)
    radius, opacity = (3.5, 0.6) if len(finite) <= 200 else (2, 0.35)
    drawn = frame.identity() if diagonal else ""
    for x, y, name in finite:
        title = f"{f'{name}: ' if name else ''}{_number(x, False)}, {_number(y, False)}"
        drawn += frame.dot(x, y, title, radius=radius, opacity=opacity)
    left_out = f", {len(points) - len(finite)} not finite" if len(points) > len(finite) else ""
    spoken = (
        f"{label}: {len(finite)} points{left_out}; {x_label} {_number(min(xs), False)} to {_number(max(xs), False)}, "
        f"{y_label} {_number(min(ys), False)} to {_number(max(ys), False)}"
    )
    key = f'<div class="key"><span>{escape(y_label)}</span></div>'
    return f"<figure>{key}{_svg(spoken, frame.axes(x_label, False) + drawn)}</figure>"


def reliability_chart(bins: Sequence[tuple[float, float, int, float]]) -> str:
    """A reliability diagram, as HTML: accuracy against confidence in bins; calibrated bars end on the diagonal.

    Args:
        bins: (low, high, count, accuracy); an empty bin has no bar. The darker a bar, the more samples.
    """
    frame = _Frame(0, 1, 0, 1, most=1.0)
    most = max((count for _, _, count, _ in bins), default=0) or 1
    drawn = ""
    for low, high, count, accuracy in bins:
        if count:
            (left, base), (right, top) = frame.place(low, 0), frame.place(high, accuracy)
            drawn += (
                f'<rect x="{left + 1:.1f}" y="{top:.1f}" width="{right - left - 2:.1f}" '
                f'height="{max(0.0, base - top):.1f}" style="fill:var(--glass)" '
                f'fill-opacity="{0.25 + 0.75 * math.sqrt(count / most):.2f}">'
                f"<title>{count} samples at {low:.0%} to {high:.0%}: {accuracy:.1%} right</title></rect>"
            )
    label = "Accuracy of predictions, by confidence"
    return f"<figure>{_svg(label, frame.axes('confidence', True, x_percent=True) + drawn + frame.identity())}</figure>"


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, about `most` of them at most."""
    if high <= low:
        return [low]
    rough = (high - low) / most
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from `low` to `high`; both ends if there are fewer than two."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    inside = [value for value in found if low * 0.999 <= value <= high * 1.001]
    if len(inside) > 8:
        inside = [value for value in inside if math.isclose(math.log10(value) % 1, 0, abs_tol=1e-9)]
    return inside if len(inside) > 1 else [low, high]


def _range(low: float, high: float) -> tuple[float, float]:
    """Range of an axis, with some room above the values."""
    return (low, high + 0.04 * (high - low)) if high > low else (low, low + (abs(low) or 1))


def _fraction_range(low: float, high: float) -> tuple[float, float]:
    """Range of an axis of fractions, never above 1; values that are all equal are in its middle if they can be."""
    if high > low:
        return low, min(1.0, high + 0.04 * (high - low))
    top = min(1.0, max(high + 0.05, 0.1))
    return top - 0.1, top


class _Frame:
    """The axes of a chart, and the place of values in the drawing.

    Args:
        left, right: range of x.
        low, high: range of y.
        most: largest possible y, which the axis does not exceed.
        log_x: the x axis is logarithmic; `left` is positive.
    """

    def __init__(
        self, left: float, right: float, low: float, high: float, *, most: float = math.inf, log_x: bool = False
    ) -> None:
        self.log_x = log_x
        self.x = (left, right if right > left else 2 * left if log_x else left + 1)
        self.x_ticks = log_ticks(*self.x) if log_x else ticks(left, right)
        self.y = _fraction_range(low, high) if most == 1 else _range(low, high)

    def place(self, x: float, y: float) -> tuple[float, float]:
        low, high, x = (math.log(value) if self.log_x else value for value in (*self.x, x))
        across = (x - low) / (high - low)
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return (
            round(_LEFT + across * (WIDTH - _LEFT - _RIGHT), 1),
            round(HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM), 1),
        )

    def line(self, points: Points, hue: str) -> str:
        places = [self.place(x, y) for x, y in points]
        path = " ".join(f"{x},{y}" for x, y in places)
        line = f'<polyline class="line" points="{path}" style="stroke:var({hue})"/>' if len(places) > 1 else ""
        return line + (self.dots(points, hue) if len(places) <= _DOTTED else "")

    def dots(self, points: Points, hue: str) -> str:
        """A dot at each point."""
        places = [self.place(x, y) for x, y in points]
        return "".join(f'<circle cx="{x}" cy="{y}" r="3" style="fill:var({hue})"/>' for x, y in places)

    def bars(self, intervals: Sequence[tuple[float, float, float]], hue: str) -> str:
        """A vertical line for each (x, low, high)."""
        drawn = ""
        for x, low, high in intervals:
            (left, bottom), (_, top) = self.place(x, low), self.place(x, high)
            drawn += (
                f'<line x1="{left}" y1="{bottom}" x2="{left}" y2="{top}" style="stroke:var({hue});stroke-width:1.5"/>'
            )
        return drawn

    def dot(self, x: float, y: float, title: str, *, radius: float = 3.5, opacity: float = 0.6) -> str:
        """A dot at a point, with a plain-text title that is shown on hover."""
        left, top = self.place(x, y)
        shape = f'<circle cx="{left}" cy="{top}" r="{radius}" style="fill:var(--glass)" fill-opacity="{opacity}">'
        return f"{shape}<title>{escape(title)}</title></circle>"

    def identity(self) -> str:
        """The line y = x, as far as both axes reach."""
        low, high = max(self.x[0], self.y[0]), min(self.x[1], self.y[1])
        (x0, y0), (x1, y1) = self.place(low, low), self.place(high, high)
        return f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}" style="stroke:var(--ruby)" stroke-dasharray="4 4"/>'

    def axes(self, x_label: str, percent: bool, *, x_percent: bool = False) -> str:
        parts, bottom = [], HEIGHT - _BOTTOM
        for value in ticks(*self.y):
            _, y = self.place(self.x[0], value)
            parts.append(f'<line class="axis" x1="{_LEFT}" y1="{y}" x2="{WIDTH - _RIGHT}" y2="{y}"/>')
            text = _number(value, percent)
            parts.append(f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{text}</text>')
        for value in self.x_ticks:
            x, _ = self.place(value, self.y[0])
            text = _number(value, x_percent)
            parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{text}</text>')
        middle = (_LEFT + WIDTH - _RIGHT) / 2
        parts.append(f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>')
        return "".join(parts)


def _number(value: float, percent: bool) -> str:
    if percent:
        return f"{100 * value:.3g} %"
    if 1e4 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    small = 0 < abs(value) < 1e-3
    return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-") if small else f"{value:.4g}"


def _svg(label: str, content: str) -> str:
    return f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{content}</svg>'
