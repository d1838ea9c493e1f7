"""A chart of measurements with their spread, one row for each, as inline SVG."""

from collections.abc import Mapping
from html import escape

from ..tables import number_text
from .charts import ticks

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP, _BOTTOM = 560, 210, 16, 22, 8, 36


def spread_chart(rows: Mapping[str, tuple[float, float, float]], *, label: str, x_label: str) -> str:
    """A dot at the median of each row with a line between its quartiles, over a common axis from 0, as HTML.

    Args:
        rows: name -> (lower quartile, median, upper quartile), all positive.
        label: the text alternative: the quantity.
        x_label: the title of the axis.
    """
    if not rows:
        return ""
    most = 1.04 * max(upper for _, _, upper in rows.values())
    base = _TOP + _ROW * len(rows)

    def across(value: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * value / most, 1)

    drawn = ""
    for value in ticks(0, most):
        x = across(value)
        drawn += f'<line class="axis" x1="{x}" y1="{_TOP}" x2="{x}" y2="{base}"/>'
        drawn += f'<text x="{x}" y="{base + 15}" text-anchor="middle">{number_text(value)}</text>'
    for index, (name, (lower, middle, upper)) in enumerate(rows.items()):
        y = _TOP + _ROW * (index + 0.5)
        drawn += (
            f'<text x="{_LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(name)}</text>'
            f'<line x1="{across(lower)}" y1="{y}" x2="{across(upper)}" y2="{y}" '
            'style="stroke:var(--glass);stroke-width:2"/>'
            f'<circle cx="{across(middle)}" cy="{y}" r="4" style="fill:var(--glass)">'
            f"<title>{escape(name)}: {number_text(middle)}, quartiles {number_text(lower)} and {number_text(upper)}"
            "</title></circle>"
        )
    middle_x = (_LEFT + _WIDTH - _RIGHT) / 2
    drawn += f'<text x="{middle_x}" y="{base + 32}" text-anchor="middle">{escape(x_label)}</text>'
    spoken = "; ".join(f"{name} {number_text(middle)}" for name, (_, middle, _) in rows.items())
    return (
        f'<figure><svg class="chart" style="max-width:{_WIDTH}px" viewBox="0 0 {_WIDTH} {base + _BOTTOM}" role="img" '
        f'aria-label="{escape(f"{label}: {spoken}")}">{drawn}</svg></figure>'
    )
