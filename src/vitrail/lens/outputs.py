"""Which part of a model sees images, how it is run, and whether its output scores classes."""

from typing import Any, TypeGuard

from jaxtyping import Float
from torch import Tensor, nn

from ..nn import AnyVisionModel, DualEncoder, VisionModel
from ..task_spec import TaskSpec


def gives_classes(model: nn.Module) -> bool:
    """Whether the output of a model is logits of classes; True for a module that is none of ours."""
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


def hides_patches(model: nn.Module) -> TypeGuard[AnyVisionModel]:
    """Whether a model's forward hides patches, as in masked image modelling; its `forward_features` shows all."""
    return isinstance(model, AnyVisionModel) and not isinstance(model, VisionModel)


def run(model: nn.Module, pixels: Float[Tensor, "B C H W"]) -> Any:
    """The output of a model for whole images; None for a model whose forward hides patches (MAE, BEiT).

    Of such a model the encoder runs on all patches, so that every layer can be observed.
    """
    if hides_patches(model):
        model.forward_features(pixels)
        return None
    return model(pixels)
