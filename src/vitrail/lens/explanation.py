"""What a model sees in one picture, as plain values that can be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ..data.preprocess import Preprocess
from ..errors import VitrailError
from .draw import displayable
from .observe import Attention, observe
from .rollout import class_token_map, rollout


@dataclass(frozen=True, slots=True)
class Explanation:
    """One picture, what was predicted, and where the model looked.

    Attributes:
        name: what the user calls the picture.
        picture: uint8 (3, H, W), cropped as the model sees it; the maps lie over this one.
        predictions: (class name, probability), the most probable first.
        maps: of each layer whose attention spans the picture (h, rows, columns), what `class_token_map` describes.
        flow: (rows, columns), the rollout of all layers, or None where layers have different tokens.
        prefix: how many prefix tokens the last layer has; 0 means that maps are what each patch receives.
    """

    name: str
    picture: UInt8[Tensor, "3 H W"]
    predictions: tuple[tuple[str, float], ...]
    maps: tuple[Float[Tensor, "h rows columns"], ...]
    flow: Float[Tensor, "rows columns"] | None
    prefix: int


def explain_image(
    model: nn.Module,
    preprocess: Preprocess,
    class_names: Sequence[str],
    name: str,
    image: Tensor,
    *,
    top_k: int = 5,
    task: Literal["single", "multi"] = "single",
) -> Explanation:
    """Look at one image (C, H, W) through a model in evaluation mode.

    Args:
        class_names: in the order of the logits; may be empty, then classes are numbered.
        task: "single" gives softmax probabilities, "multi" one independent probability a class.
    """
    fitted = preprocess.fit(image)
    device = next(model.parameters()).device
    with observe(model) as seen, torch.inference_mode():
        logits = model(preprocess.normalise(fitted)[None].to(device))[0].float()
    whole = [layer for layer in seen if _spans_picture(seen, layer, batch=1)]
    if not whole:
        raise VitrailError(
            "no attention of this model spans the whole picture, so there is no map to draw: "
            "`observe` gives the weights of its windows"
        )
    probabilities = logits.softmax(-1) if task == "single" else logits.sigmoid()
    best = probabilities.topk(min(top_k, len(logits)))
    return Explanation(
        name=name,
        picture=displayable(fitted),
        predictions=tuple(
            (class_names[index] if class_names else f"class {index}", value)
            for index, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ),
        maps=tuple(_map(seen, layer, seen[layer]) for layer in whole),
        flow=_flow(seen) if len(whole) == len(seen) else None,
        prefix=seen.layout(whole[-1]).prefix,
    )


def last_layer_map(model: nn.Module, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B rows columns"]:
    """Where the last layer looks, mean over its heads, for a batch and a model in evaluation mode."""
    with observe(model, layers=-1) as seen, torch.inference_mode():
        model(pixels)
    (layer,) = seen
    if not _spans_picture(seen, layer, batch=len(pixels)):
        raise VitrailError("the last attention of this model looks at windows, not at the whole picture")
    layout = seen.layout(layer)
    return class_token_map(seen[layer], layout.grid, layout.prefix).mean(dim=1)


def _spans_picture(seen: Attention, layer: int, *, batch: int) -> bool:
    """Whether every token of the picture is a key: windows and reduced grids are no maps of it."""
    layout, weights = seen.layout(layer), seen[layer]
    return weights.shape[0] == batch and weights.shape[-1] == layout.prefix + torch.Size(layout.grid).numel()


def _map(seen: Attention, layer: int, weights: Tensor) -> Tensor:
    layout = seen.layout(layer)
    if len(layout.grid) != 2:
        raise VitrailError(f"layer {layer} has a grid of {len(layout.grid)} dimensions: only pictures can be drawn")
    return class_token_map(weights, layout.grid, layout.prefix)[0].cpu()


def _flow(seen: Attention) -> Tensor | None:
    shapes = {weights.shape[2:] for weights in seen.values()}
    if len(shapes) > 1:
        return None
    layout = seen.layout(-1)
    total = rollout(seen.values(), prefix=layout.prefix)
    return class_token_map(total, layout.grid, layout.prefix)[0].cpu()
