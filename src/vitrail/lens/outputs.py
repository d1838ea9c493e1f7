"""The image encoder of a model, its outputs, and whether they are class logits."""

from typing import Any, TypeGuard

from jaxtyping import Float
from torch import Tensor, nn

from ..nn import BaseVisionModel, ComposedModel, DualEncoder, SequentialModel, joined
from ..task_spec import CLASSIFICATION, VIDEO
from .compiled import original


def gives_classes(model: nn.Module) -> bool:
    """Whether a model's output is class logits; True for modules that are not vitrail's."""
    model = original(model)
    return not isinstance(model, BaseVisionModel) or model.config.task.name in (CLASSIFICATION.name, VIDEO.name)


def image_model(model: nn.Module) -> nn.Module:
    """The part of a model that takes images: the image encoder of an image-text model, else the model itself.

    Of a compiled model it is that of the original module, whose submodules can be observed.
    """
    model = original(model)
    return model.image if isinstance(model, DualEncoder) else model


def hides_patches(model: nn.Module) -> TypeGuard[ComposedModel]:
    """Whether a model's forward hides patches, as in masked image modelling; `forward_features` does not."""
    found = original(model)
    return isinstance(found, ComposedModel) and not isinstance(found, SequentialModel)


def run(model: nn.Module, pixels: Float[Tensor, "B C H W"]) -> Any:
    """Output of a model for whole images; of a head with two classifiers, the mean of their logits.

    None for a model whose forward hides patches (MAE, BEiT). The encoder of such a model runs on all patches, so that
    every layer can be observed.
    """
    if hides_patches(model):
        model.forward_features(pixels)
        return None
    return joined(model(pixels))
