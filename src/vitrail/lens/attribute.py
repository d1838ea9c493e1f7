"""Attribution of images in one call: from a model or a checkpoint to maps over the patches."""

import os
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..checkpoint.contract import Checkpoint
from ..errors import VitrailError, nearest
from .attribution.methods import find_method
from .images import ImageLike
from .inputs import model_inputs

Target = int | str
"""A class by number, or by name if class names are known."""


def attribute(
    model: nn.Module | Checkpoint | str | os.PathLike[str],
    images: Tensor | ImageLike | Iterable[ImageLike],
    *,
    method: str = "generic",
    target: Target | Sequence[Target] | Tensor | None = None,
    device: str = "auto",
) -> Float[Tensor, "B *grid"]:
    """Attribute a prediction to the patches, one map for each image: `attribute(checkpoint, "cat.jpg")`.

    Args:
        model: a checkpoint, or an argument of `load`, with its own preprocessing; or a bare `VisionModel`,
            which takes normalised pixels.
        images: for a checkpoint one `ImageLike` or several, or clips; for a bare model a tensor (B, C, H, W), or of
            clips (B, C, T, H, W).
        method: one of `vitrail.lens.attribution.methods.METHODS`, or of an installed package.
        target: a class for all images, or one for each, by number or name; or vectors (B, K) such as embeddings: the
            dot product with the model's output is attributed. By default the predicted class; for a model without
            classes the image's own normalised embedding.
        device: device of a checkpoint; a bare model stays on its own.

    Returns:
        (B, rows, columns), of clips (B, T, rows, columns), on the CPU. For `signed` methods, negative values are
        evidence against the target.

    Raises:
        VitrailError: unknown method or class, the method does not apply to the model, or an image cannot be read.
    """
    chosen = find_method(method)
    given = model_inputs(model, images, device)
    pixels = given.pixels.to(given.device)
    targets = _targets(target, len(pixels), given.class_names)
    return chosen(given.model, pixels, None if targets is None else targets.to(given.device)).cpu()


def _targets(
    target: Target | Sequence[Target] | Tensor | None, count: int, class_names: Sequence[str]
) -> Tensor | None:
    if target is None or isinstance(target, Tensor):
        return target
    each = [target] * count if isinstance(target, int | str) else list(target)
    return torch.tensor([_number(one, class_names) for one in each])


def _number(target: Target, class_names: Sequence[str]) -> int:
    if isinstance(target, int):
        return target
    if not class_names:
        raise VitrailError(f"class {target!r} cannot be found, since the class names are unknown: give its number")
    if target not in class_names:
        raise VitrailError(f"there is no class {target!r}: {nearest(target, class_names)}")
    return list(class_names).index(target)
