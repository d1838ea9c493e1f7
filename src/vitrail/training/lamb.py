"""LAMB, the optimiser of large batches (You et al., 2020, "Large batch optimization", algorithm 2)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Lamb(Optimizer):
    """Adam whose update of each tensor has the length of the tensor times the learning rate.

    As in NVIDIA's Apex, parameters without weight decay have Adam's update; gradients are not clipped here.

    Args:
        params: parameters or groups.
        lr: learning rate.
        betas: decays of the averages of the gradient and of its square.
        eps: added to the root of the average square.
        weight_decay: weight decay, part of the update.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._update(param, group)
        return loss

    def _update(self, param: Tensor, group: dict[str, Any]) -> None:
        state, (first, second) = self.state[param], group["betas"]
        gradient = param.grad
        assert gradient is not None
        if not state:
            state["step"] = torch.zeros(())
            state["average"], state["square"] = torch.zeros_like(param), torch.zeros_like(param)
        state["step"] += 1
        step = state["step"].item()
        state["average"].lerp_(gradient, 1 - first)
        state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        deviation = (state["square"] / (1 - second**step)).sqrt_().add_(group["eps"])
        update = (state["average"] / (1 - first**step)).div_(deviation)
        size = 1.0
        if group["weight_decay"]:
            update.add_(param, alpha=group["weight_decay"])
            length, own = param.norm().item(), update.norm().item()
            size = length / own if length and own else 1.0
        param.add_(update, alpha=-group["lr"] * size)
