"""What tasks with maps share: reading labels for training, other resolutions, and classes in another order."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from ..data.annotations import IGNORED, MapLabel
from ..data.joint import MapTarget
from ..data.samples import Sample
from ..data.targets import Targets
from .outcomes import Cells, Names
from .placed import PlacedTask


def read_map(sample: Sample) -> Shaped[Tensor, "H W"]:
    """The map of a sample. Raises BadImage if it cannot be read."""
    label: MapLabel = sample.labels[0]
    return label.read()


def resized_logits(logits: Float[Tensor, "B K h w"], size: Sequence[int]) -> Float[Tensor, "B K H W"]:
    """Logits at another resolution, by bilinear interpolation between the centres of their cells."""
    if tuple(logits.shape[2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)


def resized_map(values: Float[Tensor, "B h w"], size: Sequence[int]) -> Float[Tensor, "B H W"]:
    """Maps of numbers at another resolution, see `resized_logits`."""
    return resized_logits(values[:, None], size)[:, 0]


@dataclass(frozen=True, slots=True)
class MapReader:
    """Index -> target of a sample with one map, read when it is needed."""

    samples: tuple[Sample, ...]

    def __call__(self, index: int) -> MapTarget:
        return MapTarget(read_map(self.samples[index]))


@dataclass(frozen=True, slots=True)
class MappedClasses:
    """A map of classes with other indices: class i becomes `order[i]`."""

    label: MapLabel
    order: tuple[int, ...]

    def read(self) -> Int[Tensor, "H W"]:
        classes = self.label.read()
        table = torch.tensor([*self.order, IGNORED], dtype=torch.int16)  # -1, which is ignored, is the last
        return table[classes.long()]


class MapTask(PlacedTask):
    """Task whose labels are maps; a map is compared at its own resolution, and has no text in a table."""

    def targets(self, samples: Sequence[Sample], names: Names) -> list[MapTarget]:
        """The true map of each sample, at its own resolution: `IGNORED`, or NaN, where it is not known."""
        return [MapTarget(read_map(sample)) for sample in samples]

    def target_reader(self, samples: Sequence[Sample], names: Names) -> Targets:
        return MapReader(tuple(samples))

    def written(self, sample: Sample, names: Names) -> str:
        return ""

    def true_cells(self, sample: Sample, names: Names) -> Cells:
        return ()

    def label_columns(self, names: Names) -> dict[str, type[str] | type[float]]:
        return {}
