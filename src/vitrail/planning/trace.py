"""Peak tensor memory of a step, measured by running it on tensors with shapes but no contents."""

import weakref
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from ..checkpoint.build import blueprint
from ..machine.devices import has_amx, has_fast_bfloat16, has_onednn_bfloat16
from ..models.fields import ModelConfig
from ..nn import checkpoint_activations, fused_kernel, set_attention_kernel
from ..objectives.objective import Moment, Objective, ObjectiveConfig
from ..rewrites.base import Rewrite
from .depth import by_depth
from .objective_step import example_batch, example_views, root_module

_LEAST_DEPTH = 3
"""Least depth for extrapolation: shallower models may have their peak at another moment."""
_CONVOLUTIONS = (torch.ops.aten.convolution, torch.ops.aten.conv2d)
_PRODUCTS = (torch.ops.aten.linear, torch.ops.aten.addmm, torch.ops.aten.mm)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of every tensor that an operation returns until it is freed.

    It counts storages, because views share them. `now` is the number of live bytes, `peak` its maximum.

    Args:
        device: device of the operations. On a CPU, operations have internal buffers: convolutions have a second copy of
            their result, in oneDNN's layout, and with AMX a third one if they are in reduced precision; without
            instructions for products in reduced precision, these are accumulated in float32; and if oneDNN cannot
            emulate reduced precision either (no AVX-512), convolutions are products of the unfolded image.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.on_cpu = device.type == "cpu"
        self.emulated = self.on_cpu and not has_fast_bfloat16(device)
        self.unfolds = self.on_cpu and not has_onednn_bfloat16()
        self.copies = 2 if has_amx() else 1
        self.now = 0
        self.peak = 0
        self._alive: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket is torch.ops.aten.max_pool2d:
            with self:  # decomposed into one that also returns indices, twice as large as the result
                return func.decompose(*args, **(kwargs or {}))
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._follow(leaf.untyped_storage())
        self.peak = max(self.peak, self.now + self._buffer(func, args, out))
        return out

    def _buffer(self, func: Any, args: Any, out: Any) -> int:
        if not self.on_cpu or func.overloadpacket not in (*_CONVOLUTIONS, *_PRODUCTS):
            return 0
        reduced = out.dtype != torch.float32
        if func.overloadpacket in _CONVOLUTIONS:
            if reduced and self.unfolds:
                return _unfolded_bytes(args[1], out)
            return (self.copies if reduced else 1) * out.nbytes
        return out.numel() * torch.float32.itemsize if reduced and self.emulated and not self.unfolds else 0

    def _follow(self, storage: Any) -> None:
        key, size = id(storage), storage.nbytes()
        if key in self._alive:
            return

        def freed(_: Any) -> None:
            del self._alive[key]
            self.now -= size

        self._alive[key] = weakref.ref(storage, freed)
        self.now += size


def _unfolded_bytes(weight: Tensor, out: Tensor) -> int:
    """Bytes of an unfolded image, with all inputs of each output pixel; a 1×1 filter needs no copy."""
    inputs = weight[0].numel()
    return 0 if weight[0, 0].numel() == 1 else out.numel() // weight.shape[0] * inputs * out.itemsize


def inference_peak(
    config: ModelConfig,
    batch_size: int,
    precision: torch.dtype,
    device: torch.device,
    rewrites: tuple[Rewrite, ...] = (),
) -> int:
    """Peak bytes of all tensors of a forward pass of a model, rewritten: weights, pixels, activations."""

    def peak(config: ModelConfig) -> tuple[int]:
        model = blueprint(config.densest(), rewrites)
        with FakeTensorMode(allow_non_fake_inputs=True), LiveBytes(device) as live:
            model = model.to_empty(device="cpu").eval()
            inputs = config.example_inputs(batch_size)
            # As in real inference: under no_grad, autocast would cache its copies of the weights.
            with torch.inference_mode(), _autocast(precision):
                tree_map_only(Tensor, Tensor.float, model(*inputs))
            return (live.peak,)

    return by_depth(config, peak, least=_LEAST_DEPTH, rewrites=rewrites)[0]


def backward_peak(
    config: ModelConfig,
    batch_size: int,
    precision: torch.dtype,
    device: torch.device,
    *,
    checkpointing: bool,
    objective: ObjectiveConfig | None = None,
    rewrites: tuple[Rewrite, ...] = (),
) -> int:
    """Peak bytes of all tensors of forward and backward: weights, gradients, batch, activations.

    Args:
        objective: its own parameters, teachers and views count too; None: cross entropy of the model's outputs.
        rewrites: applied to the model.
    """

    def peak(config: ModelConfig) -> tuple[int]:
        model = blueprint(config.densest(), rewrites)
        root = model if objective is None else root_module(objective, model)
        views = None if objective is None else example_views(objective, config)
        if device.type != "cpu":
            # Autograd needs a real device for its streams, so a GPU's step is traced on the CPU, with the kernel of a
            # GPU: the fused one, which stores no attention weights for the backward pass.
            set_attention_kernel(model, fused_kernel)
        if checkpointing:
            checkpoint_activations(model)
        with FakeTensorMode(allow_non_fake_inputs=True), LiveBytes(device) as live:
            root = root.to_empty(device="cpu").train()
            with _autocast(precision):
                if isinstance(root, Objective) and views is not None:
                    loss = root(example_batch(views, batch_size), Moment(0, 0.5)).total
                else:
                    loss = _loss(root(*config.example_inputs(batch_size)))
            loss.backward()
            return (live.peak,)

    return by_depth(config, peak, least=_LEAST_DEPTH, rewrites=rewrites)[0]


def _loss(output: Any) -> Tensor:
    """Scalar loss with arbitrary targets, since fake tensors have no values."""
    if isinstance(output, Tensor):
        return F.cross_entropy(output.float(), torch.zeros_like(output, dtype=torch.float32))
    return torch.stack([leaf.float().square().mean() for leaf in tree_leaves(output)]).sum()


def _autocast(precision: torch.dtype) -> AbstractContextManager:
    return nullcontext() if precision == torch.float32 else torch.autocast("cpu", precision)
