"""UniversalViT: one ViT for several tasks, with a simple head for each (Caruana, 1997, "Multitask learning").

The heads are a linear layer on the class token for classification, DETR's decoder on the patch tokens for detection,
and upsampled maps for segmentation and depth.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from ..errors import VitrailError, nearest
from ..nn import (
    DepthHead,
    DetectionHead,
    FirstToken,
    Head,
    SegmentationHead,
    TaskHeads,
    TaskOutputs,
    Upsampling,
    VisionModel,
    init_vit,
    upsample,
)
from ..task_spec import CLASSIFICATION, EMBEDDING, REGRESSION, TaskSpec
from .detr import query_decoder
from .fields import BlockFields, PositionedFields, ViTFields, pair
from .parts import classifier, patch_embed, vit_embed, vit_encoder
from .vit import SMALL, TINY
from .words import UniversalTask

TASKS: tuple[UniversalTask, ...] = ("classification", "detection", "segmentation", "depth")
_POOLED = (CLASSIFICATION.name, EMBEDDING.name, REGRESSION.name)
"""Tasks of the classification head."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UniversalViTConfig(ViTFields, PositionedFields, BlockFields):
    """ViT's embedding and encoder, and a head for each task.

    With one task the output is that of a model for this task, with several it is `TaskOutputs`.

    Attributes:
        tasks: some of "classification", "detection", "segmentation" and "depth".
        num_classes, object_classes, pixel_classes: number of classes of images, of objects in them, and of pixels.
        decoder_depth, num_queries: fields of the detector, see `DETRConfig`.
        dense_dim: channels of the maps for segmentation and depth.
        doublings: number of steps that double the maps and convolve them, before interpolation to the image's size.
    """

    tasks: tuple[UniversalTask, ...] = TASKS
    object_classes: int = 91
    pixel_classes: int = 150
    decoder_depth: int = 3
    num_queries: int = 100
    dense_dim: int = 256
    doublings: int = 2

    def resolve_task(self) -> TaskSpec:
        if self.tasks == (CLASSIFICATION.name,):
            return ViTFields.resolve_task(self) if self.task.name in _POOLED else CLASSIFICATION
        return task_of_heads(self.tasks, self.task)

    @property
    def num_outputs(self) -> int:
        if "classification" in self.tasks:
            return 0 if self.task == EMBEDDING else self.num_classes
        dense: dict[tuple[str, ...], int] = {("detection",): self.object_classes, ("segmentation",): self.pixel_classes}
        return dense.get(self.tasks, 0)

    @property
    def unnamed_outputs(self) -> int:
        return int(self.tasks == ("detection",))

    def output_fields(self, counts: Mapping[str, int]) -> dict[str, Any]:
        return fields_of_heads(counts)

    # TaskOutputs of several tasks, or the output of the only one, which the types of the fields do not determine.
    def build(self) -> VisionModel["UniversalViTConfig", TaskOutputs | Any]:
        embed = vit_embed(self, patch_embed(self))
        heads: dict[str, nn.Module] = {task: self.head(task) for task in self.tasks}
        if len(heads) != len(self.tasks) or not heads:
            raise VitrailError(f"tasks {self.tasks}: choose one of {', '.join(TASKS)}, or several, each once")
        embed = embed.apply(init_vit)
        encoder = vit_encoder(self).apply(init_vit)
        if len(heads) == 1:
            return VisionModel(embed, encoder, heads[self.tasks[0]], config=self)
        return UniversalViT(embed, encoder, TaskHeads(heads), config=self)

    def head(self, task: str) -> nn.Module:
        makers = {
            "classification": self.classification,
            "detection": self.detection,
            "segmentation": self.segmentation,
            "depth": self.depth_map,
        }
        if task not in makers:
            raise VitrailError(f"there is no task {task!r}: {nearest(task, TASKS)}")
        return makers[task]()

    def classification(self) -> Head:
        return Head(FirstToken(), classifier(self.embed_dim, self.num_classes)).apply(init_vit)

    def detection(self) -> DetectionHead:
        return DetectionHead(
            query_decoder(self, self.decoder_depth, self.num_queries), self.embed_dim, self.object_classes
        )

    def segmentation(self) -> SegmentationHead:
        classify = nn.Conv2d(self.dense_dim, self.pixel_classes, 1)
        return SegmentationHead(self.upsampling(), nn.Identity(), classify, self.to_pixels())

    def depth_map(self) -> DepthHead:
        predict = nn.Sequential(nn.Conv2d(self.dense_dim, 1, 1), nn.Softplus(), self.to_pixels())
        return DepthHead(self.upsampling(), predict)

    def upsampling(self) -> Upsampling:
        return Upsampling(self.embed_dim, self.dense_dim, self.doublings)

    def to_pixels(self) -> nn.Module:
        rows, columns = pair(self.patch_size)
        return upsample((rows / 2**self.doublings, columns / 2**self.doublings))


def task_of_heads(tasks: tuple[str, ...], given: TaskSpec) -> TaskSpec:
    """The task of a model with these heads: that of the only one, or "universal"; with the options of a given one."""
    found = TaskSpec(tasks[0]) if len(tasks) == 1 else TaskSpec.of("universal", tasks=tasks)
    options = dict(given.options)
    same = given.name == found.name and (len(tasks) == 1 or options.get("tasks") == tasks)
    return given if same else found


def fields_of_heads(counts: Mapping[str, int]) -> dict[str, Any]:
    """Fields of a config with heads for these tasks, with so many outputs each."""
    names = {"classification": "num_classes", "detection": "object_classes", "segmentation": "pixel_classes"}
    pooled = {"classification" if task in _POOLED else task: count for task, count in counts.items()}
    return {"tasks": tuple(pooled), **{names[task]: count for task, count in pooled.items() if task in names}}


class UniversalViT(VisionModel[UniversalViTConfig, TaskOutputs]):
    """A vision model with a head for each of several tasks: pixels -> TaskOutputs."""

    def only(self, task: UniversalTask) -> VisionModel[UniversalViTConfig, Tensor | Any]:
        """The model of one task: the same embedding, encoder and head, whose weights are shared with this model.

        Raises:
            VitrailError: this model has no head for the task.
        """
        tasks, heads = self.config.tasks, self.get_submodule("head")
        if task not in tasks:
            raise VitrailError(f"this model has no head for {task!r}: {nearest(task, tasks)}")
        return VisionModel(self.embed, self.encoder, heads.get_submodule(task), replace(self.config, tasks=(task,)))


def adopt_encoder(model: VisionModel[Any, Any], vit: VisionModel[Any, Any]) -> None:
    """Copy embedding and encoder of a ViT, such as a pretrained classifier, into a model; its heads are kept.

    Both must have the same sizes: `vitrail.load(..., image_size=...)` adapts a checkpoint to another size.

    Raises:
        VitrailError: tensors differ in name or shape; nothing is changed.
    """
    for name in ("embed", "encoder"):
        shapes, wanted = (
            {key: value.shape for key, value in getattr(m, name).state_dict().items()} for m in (vit, model)
        )
        wrong = [f"{name}.{key}" for key in {**shapes, **wanted} if shapes.get(key) != wanted.get(key)]
        if wrong:
            raise VitrailError(f"the encoders differ in {', '.join(wrong)}: build both with the same sizes")
    for name in ("embed", "encoder"):
        getattr(model, name).load_state_dict(getattr(vit, name).state_dict())


VARIANTS: dict[str, Any] = {
    "universal_vit_tiny_patch16_224": UniversalViTConfig(**TINY),
    "universal_vit_small_patch16_224": UniversalViTConfig(**SMALL),
    "universal_vit_base_patch16_224": UniversalViTConfig(),
}

PAPER_NAMES = (
    (r"universal-?vit", "universal_vit_base_patch16_224"),
    (r"universal-?vit-<size>(-?<patch>)?(-<image>)?", "universal_vit_{size}_patch{patch:16}_{image:224}"),
)
