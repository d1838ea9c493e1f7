"""Warnings from the log of a run while it trains: a constant loss, memorised images, collapsed features."""

from collections.abc import Mapping, Sequence
from typing import Any

from .feature_quality import FeatureQuality

_WINDOW = 5
"""Evaluations over which a trend is judged."""

_FLAT = 0.002
"""Relative change of the mean training loss between two windows below which it counts as constant."""


def advice(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Warnings that apply to the log with its last row, and did not apply before it; each has a way out.

    They depend on nothing else, so that a resumed run prints each once.

    Args:
        rows: rows of the metric log.
    """
    tests = (_stands_still, _memorises, _collapsed)
    return [test(rows) for test in tests if test(rows) and not any(test(rows[:end]) for end in range(len(rows)))]


def _collapsed(rows: Sequence[Mapping[str, Any]]) -> str:
    row = rows[-1] if rows else {}
    if "val_rank" not in row or "val_spread" not in row:
        return ""
    return FeatureQuality(row["val_rank"], row["val_spread"]).caution


def _stands_still(rows: Sequence[Mapping[str, Any]]) -> str:
    losses = _values(rows, "train_loss")
    if len(losses) < 2 * _WINDOW:
        return ""
    before, now = (sum(part) / _WINDOW for part in (losses[-2 * _WINDOW : -_WINDOW], losses[-_WINDOW:]))
    if abs(now - before) > _FLAT * abs(before):
        return ""
    return (
        f"the training loss has been {now:.3g} for {2 * _WINDOW} evaluations and no longer falls: if that is too much, "
        "use a larger model or another learning rate; otherwise fewer epochs give the same"
    )


def _memorises(rows: Sequence[Mapping[str, Any]]) -> str:
    train, val = _values(rows, "train_loss"), _values(rows, "val_loss")
    if len(val) < _WINDOW + 1 or len(train) != len(val):
        return ""
    rising = all(later > earlier for earlier, later in zip(val[-_WINDOW:-1], val[-_WINDOW + 1 :], strict=True))
    if not rising or train[-1] >= train[-_WINDOW]:
        return ""
    return (
        f"the validation loss rises since epoch {rows[-_WINDOW]['epoch']:g} while the training loss falls: the images "
        "are being memorised; use more augmentation (--set augment.randaugment=2 objective.cutmix=1), --weights, or "
        "--set patience=5 to stop"
    )


def _values(rows: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    return [float(row[key]) for row in rows if row.get(key) is not None]
