"""The image encoder of a model, its outputs, and whether they are class logits."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from ..nn import AnyVisionModel, DualEncoder, VisionModel
from ..task_spec import TaskSpec


def gives_classes(model: nn.Module) -> bool:
    """Whether a model's output is class logits; True for modules that are not vitrail's."""
    if not isinstance(model, AnyVisionModel):
        return True
    config = model.config
    task = getattr(config, "task", "classification")
    name = task.name if isinstance(task, TaskSpec) else task
    # A head without bias is CLIP's projection into the space that texts share.
    return name == "classification" and getattr(config, "num_classes", 1) != 0 and getattr(config, "head_bias", True)


def image_model(model: nn.Module) -> nn.Module:
    """The part of a model that takes images: the image encoder of an image-text model, else the model itself."""
    return model.image if isinstance(model, DualEncoder) else model


def run(model: nn.Module, pixels: Float[Tensor, "B C H W"]) -> Any:
    """Output of a model for whole images; None for a model whose forward hides patches (MAE, BEiT).

    The encoder of such a model runs on all patches, so that every layer can be observed.
    """
    if isinstance(model, AnyVisionModel) and not isinstance(model, VisionModel):
        model.forward_features(pixels)
        return None
    return model(pixels)
