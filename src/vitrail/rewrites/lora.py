"""Low-rank updates of linear layers, for fine-tuning few parameters (Hu et al., 2022, "LoRA")."""

import math
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..errors import VitrailError
from ..nn import JointProjection, JointProjectionWithoutKeyBias
from .base import Rewrite

_FUSED = (JointProjection, JointProjectionWithoutKeyBias)
"""Layers whose output is queries, keys and values, one after the other."""


@dataclass(frozen=True, slots=True)
class LoRA(Rewrite):
    """Add a low-rank matrix to the weight of each chosen linear layer: W + (alpha / rank) · B A.

    B starts at zero, so the outputs are the same at first. In a fused projection, queries, keys and values have a
    low-rank matrix each. `merge_lora` adds the products to the weights, which gives the same outputs bit for bit.
    """

    rank: int = 8
    """Rank of the update."""
    alpha: float = 16.0
    """Scale of the update, in units of the rank."""
    layers: tuple[str, ...] = ("encoder.*",)
    """Shell patterns of the names of linear layers, such as encoder.* or *.qkv."""

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= 4096:
            raise VitrailError(f"lora.rank is {self.rank}: it needs to be from 1 to 4,096")
        if not 0 < self.alpha <= 1e6:
            raise VitrailError(f"lora.alpha is {self.alpha}: it needs to be more than 0, at most 10^6")

    def __call__(self, model: nn.Module) -> None:
        if any(parametrize.is_parametrized(module) for module in model.modules()):
            raise VitrailError("this model has low-rank updates already: merge them first, with `vitrail convert`")
        found = [
            module
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and any(fnmatch(name, pattern) for pattern in self.layers)
        ]
        if not found:
            raise VitrailError(
                f"lora.layers {', '.join(self.layers)} matches no linear layer of this model: name some of its linear "
                "layers, or train all weights, --recipe finetune"
            )
        for module in found:
            parts = 3 if isinstance(module, _FUSED) else 1
            update = LowRank(module.weight, self.rank, self.alpha / self.rank, parts)
            parametrize.register_parametrization(module, "weight", update, unsafe=True)


class LowRank(nn.Module):
    """Parametrisation of a weight by a fixed part and a low-rank one: W -> W + scale · B A.

    Args:
        weight: (O, I).
        rank: rank r of the update.
        scale: factor of the update.
        parts: number of equal parts of the rows, each with an update of its own.
    """

    def __init__(self, weight: Float[Tensor, "O I"], rank: int, scale: float, parts: int) -> None:
        super().__init__()
        rows, columns = weight.shape[0] // parts, weight.shape[1]
        self.scale = scale
        self.down = nn.Parameter(weight.new_empty(parts, min(rank, rows, columns), columns))
        self.up = nn.Parameter(weight.new_zeros(parts, rows, self.down.shape[1]))
        nn.init.uniform_(self.down, -1 / math.sqrt(columns), 1 / math.sqrt(columns))

    def forward(self, weight: Float[Tensor, "O I"]) -> Float[Tensor, "O I"]:
        return weight + self.scale * (self.up @ self.down).flatten(0, 1)


@dataclass(frozen=True, slots=True)
class MergeLoRA(Rewrite):
    """Add the low-rank updates to the weights; the list of rewrites then has no update."""

    def __call__(self, model: nn.Module) -> None:
        updated = [module for module in model.modules() if parametrize.is_parametrized(module, "weight")]
        if not updated:
            raise VitrailError("this model has no low-rank updates: leave merge_lora out")
        for module in updated:
            weight: Any = module.weight
            merged = weight.detach().clone()
            # `remove_parametrizations` would change the class of the module, which copies of the model have in common.
            del module.parametrizations
            module.__class__ = type(module).__bases__[0]
            module.weight = nn.Parameter(merged)

    def recorded(self, earlier: tuple[Rewrite, ...]) -> tuple[Rewrite, ...]:
        """The earlier rewrites without low-rank updates."""
        return tuple(change for change in earlier if not isinstance(change, LoRA))


def lora_parameters(model: nn.Module) -> set[nn.Parameter]:
    """Parameters of the low-rank updates of a model."""
    return {param for module in model.modules() if isinstance(module, LowRank) for param in module.parameters()}


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """Tensors of a model with its low-rank updates added to its weights, under the names that they have without."""
    state = model.state_dict()
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module, "weight"):
            for key in [key for key in state if key.startswith(f"{name}.parametrizations.")]:
                del state[key]
            state[f"{name}.weight"] = module.weight.detach()
    return state
