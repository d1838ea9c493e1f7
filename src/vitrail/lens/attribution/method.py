"""The interface of attribution methods, and the class that makes one of a function."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import VitrailError
from ...nn import SequentialModel, VisionModel
from .passes import Map, Targets, default_targets, settled

MapFunction = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""(model, pixels (B, C, H, W), targets (B,)) -> maps (B, rows, columns): an `Attribution`, or any function."""


@runtime_checkable
class Attribution(Protocol):
    """An attribution method: maps of the patches that a prediction comes from.

    `Method` is one; other packages may bring theirs.
    """

    @property
    def title(self) -> str:
        """The name on a page."""

    @property
    def signed(self) -> bool:
        """Whether values can be negative: the patch speaks against the target."""

    @property
    def by_class(self) -> bool:
        """Whether the map depends on the target."""

    def __call__(self, model: nn.Module, pixels: Float[Tensor, "B C H W"], targets: Targets | None = None) -> Map:
        """Maps over the patches, (B, rows, columns); `targets` as in `Method`."""


@dataclass(frozen=True, slots=True)
class Method:
    """An attribution method made of a function (model, pixels, targets) -> maps.

    Attributes:
        title: the name on a page.
        map: the function, which has options of its own.
        signed: whether values can be negative; otherwise none is.
        by_class: whether the map depends on the target.
        quick: whether it costs only a pass or two, so that a page can hold a map of every class.
    """

    title: str
    map: Callable[[VisionModel, Tensor, Tensor], Tensor]
    signed: bool = True
    by_class: bool = True
    quick: bool = False

    def __call__(self, model: nn.Module, pixels: Float[Tensor, "B C H W"], targets: Targets | None = None) -> Map:
        """A map over the patches of each image, (B, rows, columns), detached.

        The model is in evaluation mode meanwhile and unchanged afterwards; no parameter gets a gradient. Images of a
        batch do not influence each other.

        Args:
            model: a `VisionModel` whose output is (B, K): logits or an embedding.
            pixels: (B, C, H, W), normalised.
            targets: (B,), the class of each image whose logit is attributed; or (B, K), a vector of each image whose
                dot product with the output is, such as an embedding to be similar to. By default the predicted class;
                for a model without classes the direction of the image's own embedding.

        Raises:
            VitrailError: the method does not apply to the model; unknown classes.
        """
        check(model, pixels)
        # Tensors of inference mode could take no part in a graph: clones made outside of it can.
        with settled(model), torch.inference_mode(False), torch.no_grad():
            pixels = pixels.detach().clone()
            targets = default_targets(model, pixels) if targets is None else targets.detach().clone()
            return self.map(model, pixels, targets).detach()  # type: ignore[arg-type]


def check(model: nn.Module, pixels: Tensor) -> None:
    """Raise a VitrailError unless the model is embed, encoder and head in sequence, and the pixels are images."""
    if not isinstance(model, SequentialModel) or type(model).forward is not SequentialModel.forward:
        raise VitrailError(
            f"{type(model).__name__} is not a VisionModel of embed, encoder and head: take its image encoder, or use"
            " the pure functions on what `observe_attention` and `capture` record"
        )
    if pixels.ndim != 4 or not pixels.is_floating_point():
        raise VitrailError(
            f"pixels {tuple(pixels.shape)} of {pixels.dtype} are no batch of normalised images (B, C, H, W): "
            "preprocess them, and make a single image a batch of one with pixels[None]"
        )
