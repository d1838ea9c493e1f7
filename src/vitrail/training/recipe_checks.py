"""Checks of a recipe's values, made when it is created."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import VitrailError
from ..plain import short


class Range(NamedTuple):
    """Valid numbers of a field, ends included except the one that `open` names: "low" or "high"."""

    low: float
    high: float
    words: str
    open: str = ""

    def holds(self, value: Any) -> bool:
        """Whether a value is a number in the range; NaN is in none."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return (self.open, value) not in (("low", self.low), ("high", self.high))


_MOST = 1e9
_COUNT = Range(1, _MOST, "needs at least 1 and at most 10^9")
_POSITIVE = Range(0, _MOST, "needs to be more than 0 and at most 10^9", "low")
_NOT_NEGATIVE = Range(0, _MOST, "needs to be at least 0 and at most 10^9")
_RATE = Range(0, 1, "needs to be at least 0 and below 1", "high")
_SIDE = Range(1, 32_768, "is a side of 1 to 32,768 pixels, or [height, width]")

RANGES: Mapping[str, Range] = {
    **dict.fromkeys(("steps", "batch_size", "accumulate", "patience", "lr_batch"), _COUNT),
    **dict.fromkeys(("minutes", "epochs", "evaluate_every", "layer_decay"), _POSITIVE),
    **dict.fromkeys(("lr", "muon_lr", "head_lr"), Range(0, 1e30, "needs to be more than 0 and finite", "low")),
    **dict.fromkeys(("weight_decay", "clip", "final_lr", "save_minutes"), _NOT_NEGATIVE),
    **dict.fromkeys(("val", "test", "ema", "drop_path", "dropout", "patch_dropout", "betas"), _RATE),
    "start_size": Range(0, 1, "is a fraction of the side, more than 0 and at most 1", "low"),
    "mean": Range(-1e12, 1e12, "has a number from -10^12 to 10^12 for each channel"),
    "std": Range(1e-12, 1e12, "has a number from 10^-12 to 10^12 for each channel"),
    "image_size": _SIDE,
    "workers": Range(0, 1024, "is a number of processes, from 0 to 1,024"),
    "seed": Range(-(2**63), 2**63 - 1, "needs to fit into 64 bits"),
}
"""Field of a recipe -> its valid values; for a tuple, those of each entry. None is always valid: chosen later."""

_WHOLE = ("steps", "batch_size", "accumulate", "patience", "lr_batch", "image_size", "workers", "seed")

UNUSED_BY_LBFGS = (
    *("optimizer", "lr", "lr_batch", "muon_lr", "weight_decay", "betas", "warmup", "schedule", "final_lr", "clip"),
    *("layer_decay", "head_lr", "freeze", "batch_size", "accumulate", "evaluate_every", "patience", "save_minutes"),
    *("start_size", "drop_path", "dropout", "patch_dropout", "augment", "checkpoint_activations", "workers"),
)
"""Fields that do not change the result of a recipe with solver lbfgs."""


class Warmup(NamedTuple):
    """Length of the warm-up in a unit: "share" of the steps, "steps" or "epochs"."""

    value: float
    unit: str


def read_warmup(value: float | str) -> Warmup:
    """Read a recipe's warm-up: a fraction of the steps, "5 epochs" or "1000 steps".

    Raises:
        VitrailError: another text, or a number out of range.
    """
    if isinstance(value, str):
        number, _, unit = value.strip().partition(" ")
        unit = unit.strip().rstrip("s") + "s"
        try:
            length = float(number)
        except ValueError:
            length = -1.0
        if not 0 <= length <= _MOST or unit not in ("steps", "epochs"):
            raise VitrailError(
                f"recipe.warmup is {short(value)}: write a fraction of the steps such as 0.1, 5 epochs, or 1000 steps"
            )
        return Warmup(length, unit)
    if not _RATE.holds(value):
        raise VitrailError(
            f"recipe.warmup is {short(value)}: a fraction of the steps {_RATE.words}; for a length write 5 epochs or "
            "1000 steps"
        )
    return Warmup(value, "share")


def check_recipe(values: Mapping[str, Any]) -> None:
    """Check the fields of a recipe.

    Raises:
        VitrailError: the first invalid value, with the rule.
    """
    for name, valid in RANGES.items():
        value = values[name]
        entries = value if isinstance(value, tuple) else (value,)
        if value is None:
            continue
        if name in _WHOLE and not all(isinstance(entry, int) for entry in entries):
            raise VitrailError(f"recipe.{name} is {short(value)}: it is a whole number")
        if not all(valid.holds(entry) for entry in entries):
            raise VitrailError(f"recipe.{name} is {short(value)}: it {valid.words}")
    read_warmup(values["warmup"])
    for name in ("steps", "epochs"):
        if values["solver"] == "lbfgs" and values[name] not in (None, 1):
            raise VitrailError(
                f"recipe.{name} is {short(values[name])}, and solver lbfgs uses every image once, in one step: leave "
                f"{name} out, or train by steps, --set solver=steps"
            )
    if values["val"] + values["test"] >= 0.9:
        raise VitrailError(
            f"recipe.val {values['val']} and recipe.test {values['test']} leave less than a tenth to train on: "
            "make them smaller"
        )
