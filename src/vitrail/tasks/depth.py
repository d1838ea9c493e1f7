"""The depth task: a distance for each pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ..data.joint import MapTarget, Window, placed
from ..data.samples import Sample, Source
from ..data.survey import Survey
from ..errors import VitrailError
from ..models.fields import ModelConfig, pair
from ..pages.html import section, table
from ..pages.image import png_bytes
from ..pages.overlay import number_map
from ..tables import number_text, plain_table
from ..task_spec import TaskSpec
from .depth_metrics import DepthEvaluation, DepthMetrics, depth_errors
from .maps import MapTask, read_map, resized_map
from .outcomes import Curve, Mistake, Names, Panel, Prediction
from .task import same_kind

_MEASURED = 200
"""Most training maps that the unit is fitted to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthPrediction(Prediction):
    """Predicted depth of each pixel.

    Attributes:
        depth: (h, w), at the resolution of the model's output; fractions of its sides are those of the image's. In the
            unit of the training labels, or up to a factor if the model was not trained here.
        nearest, median, farthest: depths of the nearest pixel, the median and the farthest one.
    """

    depth: Float[Tensor, "h w"] | None = None
    nearest: float | None = None
    median: float | None = None
    farthest: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Depth(MapTask):
    """Depth: outputs (B, h, w) are inverse depths, 0 or more, larger for nearer objects; labels are maps of depths.

    depth = 1 / (output / middle + 1 / deepest).

    Attributes:
        middle, deepest: median and largest depth of the training labels; None before training, and for models that
            predict depth up to a factor.
    """

    name: ClassVar[str] = "depth"
    card_type: ClassVar[str] = "depth-estimation"
    heads: ClassVar[tuple[str, ...]] = ("depth",)
    objective: ClassVar[str] = "depth"
    curve: ClassVar[Curve] = Curve(title="Validation AbsRel", columns={"AbsRel": "val_abs_rel"})
    loss_words: ClassVar[str] = "the root mean squared error of the logarithm of the depth"
    decoded_name: ClassVar[str] = "depth"

    middle: float | None = None
    deepest: float | None = None

    def __post_init__(self) -> None:
        given = (self.middle, self.deepest)
        if given != (None, None) and not all(isinstance(value, int | float) and value > 0 for value in given):
            raise VitrailError(
                f"depth has middle {self.middle} and deepest {self.deepest}: give two positive numbers, or none"
            )

    @property
    def spec(self) -> TaskSpec:
        if self.middle is None:
            return TaskSpec("depth")
        return TaskSpec.of("depth", middle=self.middle, deepest=self.deepest)

    def check(self, survey: Survey) -> None:
        """Raise VitrailError for fewer than two images, or labels that are no maps."""
        survey.require_images(2)
        if survey.source.label_kind != "maps" or not all(sample.labels for sample in survey.source.samples):
            raise VitrailError(f"{survey.source.name} has no map of depths for each image: depth needs one for each")

    def fitted(self, samples: Sequence[Sample], names: Names) -> "Depth":
        """Return the task with median and largest depth of the first training maps."""
        medians, largest = [], []
        for sample in samples[:_MEASURED]:
            values = read_map(sample)
            known = values[values.isfinite()]
            if len(known):
                medians.append(known.median().item())
                largest.append(known.amax().item())
        if not medians:
            raise VitrailError("no pixel of the training maps has a known depth: there is nothing to learn")
        return Depth(middle=float(torch.tensor(medians).median()), deepest=max(largest))

    def continued(self, previous: TaskSpec) -> "Depth | None":
        """The previous task if its unit suits the new labels: medians within a factor of three."""
        if previous.name != self.name:
            return None
        old = Depth(**dict(previous.options))
        if old.middle is None or self.middle is None:
            return self
        return old if 1 / 3 <= old.middle / self.middle <= 3 else None

    def example_target(self, config: ModelConfig, names: Names) -> MapTarget:
        return MapTarget(torch.ones(pair(config.image_size)))

    def match(self, source: Source, names: Names) -> Source:
        same_kind(self, source)
        return source

    def depths(self, output: Float[Tensor, "*B h w"]) -> Float[Tensor, "*B h w"]:
        """Convert inverse depths to depths, in the dtype of the output."""
        if self.middle is None or self.deepest is None:
            return 1 / output.clamp(min=1e-6)
        return 1 / (output / self.middle + 1 / self.deepest)

    def depths_at(self, output: Float[Tensor, "h w"], size: Sequence[int]) -> Float[Tensor, "H W"]:
        """Depths at another resolution, float64: the inverse depths are interpolated."""
        return self.depths(resized_map(output[None].double(), size)[0])

    def decode(
        self, output: Float[Tensor, "B h w"], names: Names, top_k: int | None = None
    ) -> Sequence[DepthPrediction]:
        """Predicted depths of each image, at the resolution of the output."""
        return [
            DepthPrediction(
                depth=depth,
                nearest=depth.amin().item(),
                median=depth.median().item(),
                farthest=depth.amax().item(),
            )
            for depth in self.depths(output)
        ]

    def decoded(self, output: Float[Tensor, "B h w"]) -> Float[Tensor, "B h w"]:
        """Depths of the pixels."""
        return self.depths(output)

    def failed(self, path: str, error: str) -> DepthPrediction:
        return DepthPrediction(path=path, error=error)

    def columns(self, names: Names, top_k: int) -> dict[str, type[str] | type[float]]:
        return {"nearest": float, "median": float, "farthest": float}

    def cells(self, prediction: DepthPrediction, names: Names, top_k: int) -> list[str | float | None]:
        return [prediction.nearest, prediction.median, prediction.farthest]

    def to_dict(self, prediction: DepthPrediction) -> dict[str, Any]:
        return {name: getattr(prediction, name) for name in ("nearest", "median", "farthest")}

    def metrics(self, names: Names) -> DepthMetrics:
        return DepthMetrics(self.depths_at, self.middle)

    def errors(self, output: Float[Tensor, "B h w"], target: Sequence[MapTarget]) -> Float[Tensor, " B"]:
        """AbsRel of each image; 0 if none of its depths is known."""
        return torch.tensor([self._abs_rel(one, truth.values) for one, truth in zip(output, target, strict=True)])

    def mistakes(
        self, output: Float[Tensor, "n h w"], target: Sequence[MapTarget], names: Names, most: int
    ) -> list[Mistake]:
        """The images with the largest AbsRel."""
        wrong = self.errors(output, target)
        return [
            Mistake(
                index=index,
                predicted=_range(self.depths(output[index])),
                truth=_range(target[index].values),
                size=f"AbsRel {wrong[index]:.3f}",
            )
            for index in wrong.argsort(descending=True, stable=True)[:most].tolist()
        ]

    def panels(
        self, image: UInt8[Tensor, "3 H W"], target: Any, output: Float[Tensor, "h w"] | None, names: Names
    ) -> list[Panel]:
        size = (image.shape[1], image.shape[2])
        truth = placed(target if isinstance(target, MapTarget) else MapTarget(target), Window(), size).values
        known = truth[truth.isfinite()]
        low, high = (known.amin().item(), known.amax().item()) if len(known) else (0.0, 1.0)
        panels = [Panel("truth", number_map(truth, low, high))]
        if output is None:
            return panels
        predicted = number_map(self.depths_at(output, size).float(), low, high)
        return [Panel("image", image), *panels, Panel("prediction", predicted)]

    def drawn(self, image: UInt8[Tensor, "3 H W"], prediction: DepthPrediction, names: Names) -> dict[str, bytes]:
        """The depths as colours, dark for near, and as an array of float32 at the size of the image."""
        assert prediction.depth is not None
        inverse = resized_map(1 / prediction.depth[None], image.shape[1:])
        depth = (1 / inverse)[0]
        file = BytesIO()
        np.save(file, depth.numpy(), allow_pickle=False)
        picture = number_map(depth, depth.amin().item(), depth.amax().item())
        return {".png": png_bytes(picture), "-depth.npy": file.getvalue()}

    def label_words(self, target: Any, names: Names) -> str:
        return _range(target.values if isinstance(target, MapTarget) else target)

    def count_words(self, names: Names) -> str:
        return "a depth for each pixel"

    def describe(self, names: Names) -> str:
        return "a depth for each pixel"

    def report(self, evaluation: DepthEvaluation) -> list[str]:
        """HTML section: all metrics."""
        note = "Mean over the images of the metric of their pixels of known depth."
        return [section("Depths", table(("metric", "value"), _rows(evaluation)), note)]

    def summary(self, evaluation: DepthEvaluation) -> str:
        rows = [("images", f"{evaluation.count:,}"), *_rows(evaluation)]
        return "\n\n".join([plain_table(rows[0], rows[1:]), *evaluation.cautions()])

    def _abs_rel(self, output: Float[Tensor, "h w"], truth: Float[Tensor, "H W"]) -> float:
        known = truth.isfinite()
        if not known.any():
            return 0.0
        predicted, true = self.depths_at(output, truth.shape)[known], truth[known].double()
        if self.middle is None:
            predicted = predicted * (true.median() / predicted.median())
        return depth_errors(predicted, true)[0].item()


def _rows(found: DepthEvaluation) -> list[tuple[str, str]]:
    return [
        *found.facts(),
        ("RMSE of the logarithm", f"{found.rmse_log:.4f}"),
        ("δ2 (within a factor of 1.25²)", f"{100 * found.delta2:.1f} %"),
        ("δ3 (within a factor of 1.25³)", f"{100 * found.delta3:.1f} %"),
    ]


def _range(depths: Float[Tensor, "h w"]) -> str:
    known = depths[depths.isfinite()]
    if not len(known):
        return "no known depth"
    return f"{number_text(known.amin().item())} to {number_text(known.amax().item())}"
