"""Which part of a model sees images, how it is run, and whether its output scores classes."""

from typing import Any, TypeGuard

from jaxtyping import Float
from torch import Tensor, nn

from ..nn import BaseVisionModel, ComposedModel, DualEncoder, SequentialModel
from ..task_spec import CLASSIFICATION


def gives_classes(model: nn.Module) -> bool:
    """Whether the outputs are logits of classes; of a module that is not ours that is taken for granted."""
    return not isinstance(model, BaseVisionModel) or bool(model.config.task.name == CLASSIFICATION.name)


def image_model(model: nn.Module) -> nn.Module:
    """The part of a model that takes images: the image encoder of an image-text model, else the model itself."""
    return model.image if isinstance(model, DualEncoder) else model


def hides_patches(model: nn.Module) -> TypeGuard[ComposedModel]:
    """Whether a model's forward hides patches, as in masked image modelling; its `forward_features` shows all."""
    return isinstance(model, ComposedModel) and not isinstance(model, SequentialModel)


def run(model: nn.Module, pixels: Float[Tensor, "B C H W"]) -> Any:
    """The output of a model for whole images; None for a model whose forward hides patches (MAE, BEiT).

    Of such a model the encoder runs on all patches, so that every layer can be observed.
    """
    if hides_patches(model):
        model.forward_features(pixels)
        return None
    return model(pixels)
