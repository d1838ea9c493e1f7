"""Depth metrics (Eigen et al., 2014, "Depth map prediction from a single image", section 4.3)."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..data.joint import MapTarget
from ..errors import VitrailError
from ..tables import number_text
from .outcomes import Evaluation, Metrics
from .worth import Baseline, compared, mean_margin, with_margin

_NAMES = ("abs_rel", "rmse", "rmse_log", "delta1", "delta2", "delta3")


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthEvaluation(Evaluation):
    """Evaluation of depths; each metric is the mean over the images of that of their known pixels.

    `loss` is the root mean squared error of the logarithm of the depth.

    Attributes:
        abs_rel: |predicted − true| / true.
        rmse, rmse_log: root mean squared error, in the unit of the depths and of their natural logarithm.
        delta1, delta2, delta3: fraction of the pixels whose depth is wrong by a factor below 1.25, 1.25² and 1.25³.
        abs_rel_margin: half of the 95 % interval of `abs_rel`.
        constant: `abs_rel` of predicting the median depth of the training images everywhere; None if it is not known.
        median_scaled: whether each prediction was multiplied by the ratio of the median true and predicted depth of its
            image, as for models that predict depth up to a factor.
    """

    abs_rel: float
    rmse: float
    rmse_log: float
    delta1: float
    delta2: float
    delta3: float
    abs_rel_margin: float | None = None
    constant: float | None = None
    median_scaled: bool = False

    @property
    def quality(self) -> float:
        """Minus `abs_rel`."""
        return -self.abs_rel

    def headline(self) -> dict[str, float]:
        return {"loss": self.loss, **{name: getattr(self, name) for name in _NAMES if name != "rmse_log"}}

    def facts(self) -> list[tuple[str, str]]:
        margin = None if self.abs_rel_margin is None else f"{self.abs_rel_margin:.4f}"
        scaled = ", medians made equal" if self.median_scaled else ""
        baseline = self.baseline()
        return [
            (f"AbsRel{scaled}", with_margin(f"{self.abs_rel:.4f}", margin)),
            *([(baseline.answer, baseline.value)] if baseline else []),
            ("δ1 (within a factor of 1.25)", f"{100 * self.delta1:.1f} %"),
            ("RMSE", number_text(self.rmse)),
        ]

    def baseline(self) -> Baseline | None:
        """The median depth of the training images everywhere."""
        if self.constant is None:
            return None
        low = None if self.abs_rel_margin is None else -self.abs_rel - self.abs_rel_margin
        return Baseline(
            answer="the median depth of the training images everywhere",
            value=f"AbsRel {self.constant:.4f}",
            model=compared(-self.abs_rel, low, -self.constant),
        )

    def card_metrics(self) -> dict[str, float]:
        return {"abs_rel": self.abs_rel, "rmse": self.rmse, "delta1": self.delta1}

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


class DepthMetrics(Metrics):
    """Compares depths with the true ones, each at the resolution of the true map, in float64.

    Args:
        depths: (output of an image (h, w), size (H, W)) -> depths (H, W), float64.
        constant: the median depth of the training images; None: the model predicts depth up to a factor, and medians
            are made equal.
    """

    def __init__(self, depths: Callable[[Tensor, Sequence[int]], Tensor], constant: float | None) -> None:
        self.depths = depths
        self.constant = constant
        self.rows: list[Tensor] = []
        self.constants: list[Tensor] = []
        self.empty = 0

    def update(self, output: Float[Tensor, "B h w"], target: Sequence[MapTarget]) -> None:
        """Add the outputs of a batch, and the true map of each of its images."""
        for values, truth in zip(output, target, strict=True):
            known = truth.values.isfinite()
            if not known.any():
                self.empty += 1
                continue
            true = truth.values[known].double()
            predicted = self.depths(values, truth.values.shape)[known]
            if self.constant is None:
                predicted = predicted * (true.median() / predicted.median())
            else:
                self.constants.append(((self.constant - true).abs() / true).mean())
            self.rows.append(depth_errors(predicted, true))

    def compute(self) -> DepthEvaluation:
        """Compute the means over all images."""
        if not self.rows:
            raise VitrailError("no image has a pixel of known depth: there is nothing to score")
        rows = torch.stack(self.rows)
        if not rows.isfinite().all():
            raise VitrailError("some predicted depths are not finite: the weights have diverged, or try float32")
        means = dict(zip(_NAMES, rows.mean(0).tolist(), strict=True))
        return DepthEvaluation(
            count=len(rows),
            loss=means["rmse_log"],
            loss_margin=mean_margin(rows[:, _NAMES.index("rmse_log")]),
            abs_rel_margin=mean_margin(rows[:, 0]),
            constant=torch.stack(self.constants).mean().item() if self.constants else None,
            median_scaled=self.constant is None,
            **means,
        )


def depth_errors(predicted: Float[Tensor, " n"], true: Float[Tensor, " n"]) -> Float[Tensor, "6"]:
    """AbsRel, RMSE, RMSE of the logarithms, and δ1 to δ3 of the pixels of an image; both depths are positive."""
    ratio = torch.maximum(predicted / true, true / predicted)
    logs = predicted.log() - true.log()
    return torch.stack(
        [
            ((predicted - true).abs() / true).mean(),
            (predicted - true).square().mean().sqrt(),
            logs.square().mean().sqrt(),
            *((ratio < 1.25**power).double().mean() for power in (1, 2, 3)),
        ]
    )
