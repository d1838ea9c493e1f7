"""Where a model's operations, weights and activations are: embedding, attention, MLPs, head."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from ..checkpoint.build import blueprint
from ..models.fields import ModelConfig
from ..nn import MLP, AnyAttend, ComposedModel, ConvMLP, SwiGLU, TokenMLP, fused_kernel, set_attention_kernel
from ..rewrites.base import Rewrite
from .depth import by_depth
from .flops import FlopCount

EMBED, PRODUCT, PROJECTIONS, MLPS, OTHER, HEAD = (
    "embed",
    "attention product",
    "attention projections",
    "MLP",
    "norms, convolutions, rest",
    "head",
)
PARTS = (EMBED, PRODUCT, PROJECTIONS, MLPS, OTHER, HEAD)


@dataclass(frozen=True, slots=True)
class PartCost:
    """Cost of a part of a model.

    Attributes:
        name: one of `PARTS`. "attention product" is scores, softmax and weighted sum; "attention projections" are the
            linear layers around them.
        flops: floating-point operations of a forward pass of one image.
        weights: bytes of its parameters in float32.
        activations: bytes that a training step keeps from its forward pass for its backward pass for the batch, if
            no activation is recomputed (`checkpointing`).
    """

    name: str
    flops: int
    weights: int
    activations: int


def part_costs(
    config: ModelConfig,
    batch_size: int,
    precision: torch.dtype,
    device: torch.device,
    rewrites: tuple[Rewrite, ...] = (),
) -> tuple[PartCost, ...]:
    """Cost of every part that the model has.

    Args:
        config: the model; nothing is allocated.
        batch_size, precision, device: as in `plan`; they concern the activations.
        rewrites: applied to the model.
    """

    def measure(config: ModelConfig) -> tuple[int, ...]:
        flops, weights = _flops(config, rewrites), _weights(config, rewrites)
        activations = _activations(config, batch_size, precision, device, rewrites)
        return tuple(found[name] for found in (flops, weights, activations) for name in PARTS)

    numbers = by_depth(config, measure, least=1, rewrites=rewrites)
    columns = (numbers[start : start + len(PARTS)] for start in range(0, 3 * len(PARTS), len(PARTS)))
    costs = [PartCost(*row) for row in zip(PARTS, *columns, strict=True)]
    return tuple(cost for cost in costs if cost.flops or cost.weights or cost.activations)


def part_names(model: nn.Module) -> dict[nn.Module, str]:
    """Part of each module that begins one; modules inside belong to the same part unless they are listed too."""
    parts: dict[nn.Module, str] = {}

    def visit(module: nn.Module, inside: bool) -> None:
        for name, child in module.named_children():
            part = _part(module, name, child) if not inside else None
            if part is not None and child not in parts:
                parts[child] = part
            visit(child, inside or part in (EMBED, HEAD))

    visit(model, inside=False)
    return parts


def _part(parent: nn.Module, name: str, module: nn.Module) -> str | None:
    if isinstance(parent, ComposedModel) and name in (EMBED, HEAD):
        return name
    if isinstance(module, AnyAttend):
        return PRODUCT
    if isinstance(module, MLP | ConvMLP | SwiGLU | TokenMLP):
        return MLPS
    if any(isinstance(child, AnyAttend) for child in module.children()):
        return PROJECTIONS
    return None


class _Place:
    """The part whose forward pass is running."""

    def __init__(self) -> None:
        self.stack: list[str] = []

    @property
    def name(self) -> str:
        return self.stack[-1] if self.stack else OTHER

    @contextmanager
    def follow(self, model: nn.Module) -> Iterator[None]:
        """Context manager in which forward passes of the model set `name`."""
        hooks = []
        for module, part in part_names(model).items():
            hooks.append(module.register_forward_pre_hook(partial(self._enter, part)))
            hooks.append(module.register_forward_hook(self._leave))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, part: str, module: nn.Module, inputs: Any) -> None:
        self.stack.append(part)

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.stack.pop()


class _PartFlops(FlopCount):
    """Counts operations by part."""

    def __init__(self, place: _Place) -> None:
        super().__init__()
        self.place = place
        self.found: dict[str, int] = defaultdict(int)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = self.total
        out = super().__torch_dispatch__(func, types, args, kwargs)
        self.found[self.place.name] += self.total - before
        return out


def _flops(config: ModelConfig, rewrites: tuple[Rewrite, ...]) -> dict[str, int]:
    densest, place = config.densest(), _Place()
    model = blueprint(densest, rewrites).eval()
    with torch.no_grad(), place.follow(model), _PartFlops(place) as counted:
        model(*densest.example_inputs(1, device="meta"))
    return counted.found


def _weights(config: ModelConfig, rewrites: tuple[Rewrite, ...]) -> dict[str, int]:
    model = blueprint(config, rewrites)
    parts, found = part_names(model), dict.fromkeys(PARTS, 0)
    seen: set[nn.Parameter] = set()

    def visit(module: nn.Module, part: str) -> None:
        part = parts.get(module, part)
        for parameter in module.parameters(recurse=False):
            if parameter not in seen:  # some are shared
                seen.add(parameter)
                found[part] += parameter.nbytes
        for child in module.children():
            visit(child, part)

    visit(model, OTHER)
    return found


def _activations(
    config: ModelConfig,
    batch_size: int,
    precision: torch.dtype,
    device: torch.device,
    rewrites: tuple[Rewrite, ...],
) -> dict[str, int]:
    """Bytes of the tensors that autograd keeps, each storage once; weights are not among them."""
    place, found = _Place(), dict.fromkeys(PARTS, 0)
    model = blueprint(config.densest(), rewrites)
    if device.type != "cpu":
        set_attention_kernel(model, fused_kernel)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = model.to_empty(device="cpu").train()
        kept = {id(tensor.untyped_storage()): tensor.untyped_storage() for tensor in model.state_dict().values()}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if id(storage) not in kept:
                kept[id(storage)] = storage
                found[place.name] += storage.nbytes()
            return tensor

        with place.follow(model), saved_tensors_hooks(keep, lambda tensor: tensor), _autocast(precision):
            model(*config.example_inputs(batch_size))
    return found


def _autocast(precision: torch.dtype) -> AbstractContextManager[Any]:
    return nullcontext() if precision == torch.float32 else torch.autocast("cpu", precision)
