"""What a model sees in one picture, as plain values that can be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ..data.preprocess import Preprocess
from ..errors import VitrailError
from ..pages.image import displayable
from .layout import Layout, over_picture, received
from .observe import Attention, observe
from .rollout import class_token_map, rollout


@dataclass(frozen=True, slots=True)
class Explanation:
    """One picture, what was predicted, and where the model looked.

    Attributes:
        name: what the user calls the picture.
        picture: uint8 (3, H, W), cropped as the model sees it; the maps lie over this one.
        predictions: (class name, probability), the most probable first.
        maps: of each layer that looks at patches (h, rows, columns), see `looked_at`.
        flow: (rows, columns), the rollout of all layers, or None where layers have different tokens.
        prefix: how many prefix tokens the last layer has; 0 means that its map is what each patch receives.
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
    drawn = [layer for layer in seen if _looks_at_patches(seen, layer)]
    if not drawn:
        raise VitrailError(
            "no attention of this model looks at the patches of one regular grid, so there is no map to draw: "
            "`observe` gives the weights as they are"
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
        maps=tuple(looked_at(seen[layer], seen.layout(layer))[0].cpu() for layer in drawn),
        flow=_flow(seen) if len(drawn) == len(seen) else None,
        prefix=seen.layout(drawn[-1]).prefix,
    )


def last_layer_map(model: nn.Module, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B rows columns"]:
    """Where the last layer looks, mean over its heads, for a batch and a model in evaluation mode."""
    with observe(model, layers=-1) as seen, torch.inference_mode():
        model(pixels)
    (layer,) = seen
    if not _looks_at_patches(seen, layer):
        raise VitrailError("the last attention of this model does not look at the patches of one regular grid")
    return looked_at(seen[layer], seen.layout(layer)).mean(dim=1)


def looked_at(weights: Float[Tensor, "BG h n m"], layout: Layout) -> Float[Tensor, "B h rows columns"]:
    """Where a layer looks, over the grid of its keys, for all rows as `observe` gives them.

    Where the class token looks, or the attention that each patch receives in a layer without prefix tokens (in windows
    too: their mean over all that look).
    """
    if layout.prefix:
        rows = over_picture(weights, layout)[:, :, :1]
        return class_token_map(rows, layout.key_grid, layout.key_prefix, layout.key_cover)
    each = received(weights, layout).unsqueeze(2)[..., layout.key_prefix :]
    return class_token_map(each, layout.key_grid, 0, layout.key_cover)


def _looks_at_patches(seen: Attention, layer: int) -> bool:
    # A text and the queries of a decoder have no grid of two dimensions.
    return len(seen.layout(layer).key_grid) == 2


def _flow(seen: Attention) -> Tensor | None:
    shapes = {weights.shape[2:] for weights in seen.values()}
    if len(shapes) > 1 or seen.layout(-1).places is not None:
        return None
    layout = seen.layout(-1)
    total = rollout(seen.values(), prefix=layout.prefix)
    return class_token_map(total, layout.grid, layout.prefix, layout.cover)[0].cpu()
