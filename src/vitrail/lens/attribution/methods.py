"""The table of attribution methods, and their one door."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import VitrailError, nearest
from ...nn import VisionModel
from .attention import attention_map, rollout_map
from .flow import flow_map
from .generic import generic_map
from .grad_cam import grad_cam
from .gradients import input_times_gradient, integrated_gradients, smooth_gradient
from .occlusion import occlusion
from .passes import Classes, Map, predicted, settled
from .perception import perception_map
from .relevance import relevance_map


@dataclass(frozen=True, slots=True)
class Method:
    """A way to say which patches a prediction comes from: (model, pixels, classes) -> maps.

    Attributes:
        title: what a page calls it.
        map: the function behind it, which has options.
        signed: whether patches can speak against the class; otherwise no value is negative.
        by_class: whether the map depends on the class that is asked about.
    """

    title: str
    map: Callable[[VisionModel, Tensor, Tensor], Tensor]
    signed: bool
    by_class: bool

    def __call__(self, model: nn.Module, pixels: Float[Tensor, "B C H W"], classes: Classes | None = None) -> Map:
        """A map over the patches for each picture: (B, rows, columns), detached.

        Nothing of the model changes: it is put into evaluation mode meanwhile, and no parameter gets a gradient. Every
        picture is treated by itself.

        Args:
            model: a classifier of pictures, `VisionModel`.
            pixels: (B, C, H, W), normalised.
            classes: (B,), which class of each picture is asked about; the predicted ones by default.

        Raises:
            VitrailError: the method does not apply to the model; classes that are not there.
        """
        check(model, pixels)
        # Tensors of inference mode could take no part in a graph: clones made outside of it can.
        with settled(model), torch.inference_mode(False), torch.no_grad():
            pixels = pixels.detach().clone()
            classes = predicted(model, pixels) if classes is None else classes.clone()
            return self.map(model, pixels, classes).detach()  # type: ignore[arg-type]


Attribution = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""(model, pixels (B, C, H, W), classes (B,)) -> maps (B, rows, columns): a `Method`, or anybody's own."""

METHODS: dict[str, Method] = {
    "attention": Method("Attention, last layer", attention_map, signed=False, by_class=False),
    "rollout": Method("Rollout", rollout_map, signed=False, by_class=False),
    "flow": Method("Attention flow", flow_map, signed=False, by_class=False),
    "generic": Method("Gradient × attention", generic_map, signed=False, by_class=True),
    "lrp": Method("Relevance (AttnLRP)", relevance_map, signed=True, by_class=True),
    "perception": Method("Beyond intuition", perception_map, signed=False, by_class=True),
    "grad_cam": Method("Grad-CAM", grad_cam, signed=False, by_class=True),
    "input_gradient": Method("Input × gradient", input_times_gradient, signed=True, by_class=True),
    "integrated_gradients": Method("Integrated gradients", integrated_gradients, signed=True, by_class=True),
    "smooth_gradient": Method("SmoothGrad", smooth_gradient, signed=False, by_class=True),
    "occlusion": Method("Occlusion", occlusion, signed=True, by_class=True),
}

QUICK = ("lrp", "generic", "grad_cam", "rollout", "attention")
"""Those that take a pass or two, so that a page can have them for every class."""


def attribute(
    model: nn.Module, pixels: Float[Tensor, "B C H W"], classes: Classes | None = None, *, method: str = "generic"
) -> Map:
    """A map over the patches by one of `METHODS`, see `Method`."""
    if method not in METHODS:
        raise VitrailError(f"there is no attribution method {method!r}: {nearest(method, METHODS)}")
    return METHODS[method](model, pixels, classes)


def check(model: nn.Module, pixels: Tensor) -> None:
    """The model is embed, encoder and head, one behind the other, and the pixels are pictures."""
    if not isinstance(model, VisionModel) or type(model).forward is not VisionModel.forward:
        raise VitrailError(
            f"{type(model).__name__} is not a VisionModel of embed, encoder and head: take its image encoder, or use"
            " the pure functions on what `observe_attention` and `capture` give"
        )
    if pixels.ndim != 4 or not pixels.is_floating_point():
        raise VitrailError(
            f"pixels {tuple(pixels.shape)} of {pixels.dtype} are no batch of normalised pictures (B, C, H, W): "
            "preprocess them, and put one picture in a batch of one with pixels[None]"
        )
