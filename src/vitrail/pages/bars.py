"""Stacked bars as HTML: how a total is divided into parts."""

from collections.abc import Mapping
from html import escape

_COLOURS = ("--glass", "--ruby", "--leaf", "--amber", "--soft", "--ink")


def stacked_bars(rows: Mapping[str, Mapping[str, float]], *, unit: str) -> str:
    """A bar for each row, as long as its total, divided into parts, with a key of the parts and the totals as text.

    Args:
        rows: name -> {part: value}; at most six parts in all.
        unit: unit of the values.
    """
    parts = list(dict.fromkeys(part for values in rows.values() for part in values))
    colours = dict(zip(parts, _COLOURS, strict=False))
    most = max((sum(values.values()) for values in rows.values()), default=0) or 1
    key = "".join(f'<span><i style="color:var({colours[part]})"></i>{escape(part)}</span>' for part in parts)
    return f'<div class="key">{key}</div>' + "".join(
        _bar(name, values, colours, most, unit) for name, values in rows.items()
    )


def _bar(name: str, values: Mapping[str, float], colours: Mapping[str, str], most: float, unit: str) -> str:
    total = sum(values.values())
    pieces = "".join(
        f'<i title="{escape(part)}: {value:.3g} {escape(unit)}" style="display:inline-block;height:.8rem;'
        f'width:{100 * value / most:.2f}%;background:var({colours[part]})"></i>'
        for part, value in values.items()
    )
    spoken = ", ".join(f"{part} {100 * value / (total or 1):.0f} %" for part, value in values.items())
    return (
        f'<p style="margin:.6rem 0 0">{escape(name)} <span class="note">{total:.3g} {escape(unit)}</span></p>'
        f'<div role="img" aria-label="{escape(spoken)}" style="white-space:nowrap;font-size:0">{pieces}</div>'
    )


def value_bars(values: Mapping[str, float], *, digits: int = 4) -> str:
    """A bar for each name, as long as its value between 0 and the largest, with the value as text.

    Args:
        values: name -> value; negative values have no bar.
        digits: digits after the point.
    """
    most = max(values.values(), default=0) or 1
    return (
        '<ul class="bars">'
        + "".join(
            f"<li><span>{escape(name)}</span><span>{value:.{digits}f}</span>"
            f'<div class="bar"><i style="width:{100 * max(0.0, value) / most:.1f}%"></i></div></li>'
            for name, value in values.items()
        )
        + "</ul>"
    )
