"""Uncertainty of an evaluation, and its comparison with the best constant answer."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

Z = 1.959963984540054
"""Quantile 0.975 of the normal distribution, for intervals of 95 %."""

GROUPS = 10
"""Groups of images from which the interval of a measure is estimated that is not a mean over images."""
_NINE = 2.2621571627982053
"""Quantile 0.975 of Student's t with a degree of freedom less than there are groups."""

FEW = 30
"""Fewer images than this give a rough result, whatever it is."""


def wilson(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson, 1927): the true values that `hits` of `count` are compatible with."""
    share, spread = hits / count, Z * Z / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    # At 0 and at `count` hits the bound is exact, and rounding must not exceed it.
    return (0.0 if hits == 0 else middle - half), (1.0 if hits == count else middle + half)


def mean_margin(values: Float[Tensor, " n"]) -> float | None:
    """Half of the 95 % interval of a mean, 1.96 standard errors; None for fewer than two values."""
    return Z * values.double().std().item() / math.sqrt(len(values)) if len(values) > 1 else None


def ratio_margin(above: Float[Tensor, " n"], below: Float[Tensor, " n"]) -> float | None:
    """Half of the 95 % interval of mean(above) / mean(below) by the delta method (Cochran, 1977, section 2.11).

    Args:
        above, below: one value of each for every image.
    """
    scale = below.mean().item()
    residual = mean_margin(above - above.mean() / scale * below)
    return None if residual is None else residual / scale


def groups_margin(values: Sequence[float]) -> float:
    """Half of the 95 % interval of a measure, of its values on each of `GROUPS` groups of the images alone."""
    return _NINE * statistics.stdev(values) / math.sqrt(GROUPS)


def jackknife_margin(values: Sequence[float]) -> float:
    """Half of the 95 % interval of a measure, of its values without each of `GROUPS` groups of the images in turn.

    The delete-a-group jackknife (Shao and Tu, 1995, section 2.3).
    """
    mean = sum(values) / GROUPS
    return _NINE * math.sqrt(sum((value - mean) ** 2 for value in values) * (GROUPS - 1) / GROUPS)


def with_margin(text: str, margin: str | None) -> str:
    """Append a margin to a number: "0.83 ± 0.02"."""
    return text if margin is None else f"{text} ± {margin}"


def images(count: int) -> str:
    """Number of images in words: "1 image", "1,200 images"."""
    return f"{count:,} image{'s' * (count != 1)}"


def epochs(count: float) -> str:
    """Number of epochs in words: "1 epoch", "0.42 epochs"."""
    text = f"{count:.3g}" if count < 100 else f"{count:.0f}"
    return f"{text} epoch{'s' * (text != '1')}"


def percent_interval(interval: tuple[float, float]) -> str:
    """Interval of a fraction in per cent: "60.1–68.1 %"."""
    return f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f} %"


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """Best answer that does not look at the image, and how the model compares with it.

    Attributes:
        answer: the answer, as the end of a sentence: "always answering dandelion".
        value: its value of the metric, with the unit.
        model: "better", "hardly better" (a judgement), "unclear" if the model is better by less than the uncertainty
            of its result, or "no better".
    """

    answer: str
    value: str
    model: Literal["better", "hardly better", "unclear", "no better"]

    @property
    def sentence(self) -> str:
        """Sentence for a model that is not better; empty for one that is."""
        if self.model == "better":
            return ""
        if self.model in ("no better", "hardly better"):
            return f"The result is {self.model} than {self.answer} ({self.value})."
        return f"The result is not clearly better than {self.answer} ({self.value}), which is within its uncertainty."


def compared(value: float, low: float | None, baseline: float) -> Literal["better", "unclear", "no better"]:
    """Compare a value, of which more is better, with that of a baseline.

    Args:
        value: value of the model.
        low: lower end of its interval; None if it has none.
        baseline: value of the baseline.
    """
    if value <= baseline:
        return "no better"
    return "unclear" if low is not None and low <= baseline else "better"


def few_images(count: int) -> list[str]:
    """A sentence if a result is measured on few images."""
    if count >= FEW:
        return []
    return [f"The result is measured on {images(count)} only: another sample may give a very different one."]
