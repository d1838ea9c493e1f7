"""Interface of attribution methods, and a class that wraps a function as a method."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ...errors import VitrailError
from ...nn import SequentialModel, VisionModel
from ..compiled import original
from ..outputs import hides_patches
from .passes import Map, Pixels, Targets, default_targets, settled

MapFunction = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""(model, pixels (B, C, *size), targets (B,)) -> maps (B, *grid): an `Attribution`, or any function."""


@runtime_checkable
class Attribution(Protocol):
    """Interface of attribution methods: maps of the patches that a prediction depends on.

    `Method` implements it; other packages may define their own.
    """

    @property
    def title(self) -> str:
        """Title of the method on a page."""

    @property
    def signed(self) -> bool:
        """Whether values can be negative, for patches that are evidence against the target."""

    @property
    def by_class(self) -> bool:
        """Whether the map depends on the target."""

    def __call__(self, model: nn.Module, pixels: Pixels, targets: Targets | None = None) -> Map:
        """Maps over the patches, (B, *grid); `targets` as in `Method`."""


@dataclass(frozen=True, slots=True)
class Method:
    """An attribution method from a function (model, pixels, targets) -> maps.

    Attributes:
        title: name on the page.
        map: the function, which may have further options.
        signed: whether values can be negative.
        by_class: whether the map depends on the target.
        quick: whether it takes one or two passes only, so that a page can have a map of every class.
    """

    title: str
    map: Callable[[VisionModel, Tensor, Tensor], Tensor]
    signed: bool = True
    by_class: bool = True
    quick: bool = False

    def __call__(self, model: nn.Module, pixels: Pixels, targets: Targets | None = None) -> Map:
        """Return a map over the patches of each image, (B, rows, columns), or clip, (B, T, rows, columns), detached.

        The model runs in evaluation mode and is not changed; no parameter gets a gradient. Images of a batch are
        independent.

        Args:
            model: a `VisionModel` whose output is (B, K): logits or an embedding.
            pixels: (B, C, H, W), or clips (B, C, T, H, W), normalised.
            targets: (B,), the class of each image; its logit is attributed. Or (B, K), a vector for each image, such as
                an embedding; its dot product with the output is attributed. By default the predicted class; for a model
                without classes the image's own normalised embedding.

        Raises:
            VitrailError: the method does not apply to the model; unknown classes.
        """
        model = original(model)
        check(model, pixels)
        # Tensors made in inference mode cannot be part of a graph; clones made outside of it can.
        with settled(model), torch.inference_mode(False), torch.no_grad():
            pixels = pixels.detach().clone()
            targets = default_targets(model, pixels) if targets is None else targets.detach().clone()
            return self.map(model, pixels, targets).detach()  # type: ignore[arg-type]


def check(model: nn.Module, pixels: Tensor) -> None:
    """Raise a VitrailError unless the model is embed, encoder and head in sequence, and the pixels a batch."""
    if hides_patches(model):
        raise VitrailError(
            f"{type(model).__name__} reconstructs patches and has no output for an image that could be attributed: look"
            " at its attention, or fine-tune it first (`vitrail train LABELLED --weights RUN`)"
        )
    if not isinstance(model, SequentialModel) or type(model).forward is not SequentialModel.forward:
        raise VitrailError(
            f"{type(model).__name__} is not a VisionModel of embed, encoder and head: take its image encoder, or use"
            " the pure functions on what `observe_attention` and `capture` record"
        )
    if pixels.ndim not in (4, 5) or not pixels.is_floating_point():
        raise VitrailError(
            f"pixels {tuple(pixels.shape)} of {pixels.dtype} are no batch of normalised images (B, C, H, W) or clips "
            "(B, C, T, H, W): preprocess them, and make a single image a batch of one with pixels[None]"
        )
