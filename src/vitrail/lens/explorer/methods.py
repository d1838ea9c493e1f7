"""Where a prediction comes from: methods that give one map a class, by name.

Each takes a model in evaluation mode, pixels (B, C, H, W) and the class of each picture (B,), and gives (B, rows,
columns). A method that has nothing to do with the class ignores it.
"""

from collections.abc import Callable, Mapping

from jaxtyping import Float, Int
from torch import Tensor, inference_mode, nn

from ..explanation import last_layer_map
from ..observe import observe
from ..rollout import class_token_map, rollout

Method = Callable[
    [nn.Module, Float[Tensor, "B C H W"], Int[Tensor, "B"]],
    Float[Tensor, "B rows columns"],
]


def rollout_map(model: nn.Module, pixels: Tensor, classes: Tensor) -> Tensor:
    """Attention rollout from the class token (Abnar and Zuidema, 2020)."""
    with observe(model) as seen, inference_mode():
        model(pixels)
    layout = seen.layout(-1)
    return class_token_map(rollout(seen.values(), prefix=layout.prefix), layout.grid, layout.prefix)


def last_layer(model: nn.Module, pixels: Tensor, classes: Tensor) -> Tensor:
    """Where the class token looks in the last layer, mean over heads."""
    return last_layer_map(model, pixels)


METHODS: Mapping[str, Method] = {"rollout": rollout_map, "last layer": last_layer}
