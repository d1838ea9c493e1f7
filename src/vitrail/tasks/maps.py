"""What tasks with a map of labels share: reading them for training, and classes in another order."""

from dataclasses import dataclass

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from ..data.annotations import IGNORED, MapLabel
from ..data.joint import MapTarget
from ..data.samples import Sample


def read_map(sample: Sample) -> Shaped[Tensor, "H W"]:
    """The map of a sample. Raises BadImage if it cannot be read."""
    label: MapLabel = sample.labels[0]
    return label.read()


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
