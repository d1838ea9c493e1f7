"""Compact hybrid for several tasks: the body of the compact models, and a head of each (Caruana, 1997)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..errors import VitrailError
from ..nn import Head, MeanPool, TaskHeads, TaskOutputs, VisionModel, init_vit
from ..task_spec import TaskSpec
from .compact_body import CompactBodyFields
from .fields import ClassifierFields
from .parts import classifier
from .universal import TASKS, fields_of_heads, task_of_heads
from .words import UniversalTask


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactUniversalConfig(CompactBodyFields, ClassifierFields):
    """Compact body and the heads of several tasks; the output is `TaskOutputs`.

    Attributes:
        tasks: two or more of "classification", "detection", "segmentation" and "depth".
        num_classes, object_classes, pixel_classes: number of classes of images, of objects in them, and of pixels.
        levels, pyramid_dim: fields of the detector, see `CompactDetectorConfig`.
        dense_dim, doublings: fields of the decoders, see `CompactDenseConfig`.
    """

    tasks: tuple[UniversalTask, ...] = TASKS
    num_classes: int = 10
    object_classes: int = 80
    pixel_classes: int = 21
    levels: int = 2
    pyramid_dim: int = 96
    dense_dim: int = 64
    doublings: int = 2

    def resolve_task(self) -> TaskSpec:
        return task_of_heads(self.tasks, self.task)

    @property
    def num_outputs(self) -> int:
        return self.num_classes if "classification" in self.tasks else 0

    def output_fields(self, counts: Mapping[str, int]) -> dict[str, Any]:
        return fields_of_heads(counts)

    def build(self) -> VisionModel["CompactUniversalConfig", TaskOutputs]:
        if len(self.tasks) < 2 or len(set(self.tasks)) < len(self.tasks):
            raise VitrailError(
                f"CompactUniversalConfig has tasks {self.tasks}: name two or more, each once; for one task there are "
                "compact_detector_small_128, compact_segmenter_small_128 and compact_depth_small_128"
            )
        return VisionModel(*self.body(), TaskHeads({task: self.head(task) for task in self.tasks}), config=self)

    def head(self, task: UniversalTask) -> nn.Module:
        if task == "classification":
            return Head(MeanPool(), classifier(self.embed_dim, self.num_classes)).apply(init_vit)
        if task == "detection":
            return self.detector(self.object_classes, self.levels, self.pyramid_dim)
        if task == "segmentation":
            return self.segmenter(self.pixel_classes, self.dense_dim, self.doublings)
        return self.depth_map(self.dense_dim, self.doublings)


VARIANTS = {"compact_universal_small_128": CompactUniversalConfig()}
