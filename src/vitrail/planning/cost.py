"""What a model costs: parameters, operations and memory, without building it."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch

from ..checkpoint.build import blueprint
from ..errors import VitrailError, nearest
from ..machine.facts import pick_precision, resident_bytes
from ..models.fields import ModelConfig, pair
from ..models.registry import model_config, override
from .budget import largest_batch
from .flops import count
from .trace import backward_peak, inference_peak

OptimizerName = Literal["adamw", "muon"]

# What a CUDA context and its libraries take on the device, roughly; it differs between GPUs and drivers.
_CUDA_CONTEXT = 512 * 2**20

# What glibc's heap takes beyond the tensors in it, as a part of those that come and go: measured, see LOG.md.
_HEAP_TRAINING, _HEAP_INFERENCE = 0.35, 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a model costs at an image size and a batch size. Memory is in bytes.

    Attributes:
        model: variant, or the name of the config.
        image_size: (height, width) in pixels.
        parameters: numbers that are learned.
        flops: floating-point operations of a forward pass of one image, a multiply and an add being two.
            Papers often give multiply-adds and call them FLOPs; those are half of it.
        weights, gradients, optimizer, ema: what training holds all the time, in float32.
        activations: what a training step holds on top of it at its worst moment, the batch included.
        inference_bytes: all tensors at the worst moment of a forward pass.
        training_bytes: all tensors at the worst moment of a training step.
        runtime_bytes: what the process holds before the first tensor, Python and PyTorch, read off the
            process that made the plan; on CUDA the context on the device, roughly.
        training_process_bytes, inference_process_bytes: tensors, runtime and, on a CPU, what is lost between tensors
            in the heap, by experience.
        largest_training_batch, largest_inference_batch: whose process fits the budget, where one was
            given; 0 where not even one image does.
    """

    model: str
    image_size: tuple[int, int]
    in_channels: int
    num_classes: int
    batch_size: int
    device: str
    precision: str
    parameters: int
    flops: int
    weights: int
    gradients: int
    optimizer: int
    ema: int
    activations: int
    inference_bytes: int
    training_bytes: int
    runtime_bytes: int
    training_process_bytes: int
    inference_process_bytes: int
    largest_training_batch: int | None = None
    largest_inference_batch: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A model and the way it is used, all but the batch size."""

    config: ModelConfig
    device: torch.device
    precision: torch.dtype
    optimizer: OptimizerName
    ema: bool
    checkpointing: bool

    def training_bytes(self, batch_size: int) -> int:
        """All tensors at the worst moment of a step: in backward, for the fused update makes nothing new."""
        step = backward_peak(
            self.config,
            batch_size,
            self.precision,
            self.device,
            checkpointing=self.checkpointing,
        )
        return step + self.optimizer_bytes() + self.ema_bytes()

    def inference_bytes(self, batch_size: int) -> int:
        """All tensors at the worst moment of a forward pass."""
        return inference_peak(self.config, batch_size, self.precision, self.device)

    def with_heap(self, tensors: int, *, training: bool) -> int:
        """What the process grows by to hold these bytes of tensors."""
        if self.device.type != "cpu":
            return tensors
        if training:
            return tensors + int(_HEAP_TRAINING * (tensors - self.resting_bytes()))
        return tensors + int(_HEAP_INFERENCE * (tensors - self.weight_bytes()))

    def resting_bytes(self) -> int:
        """What training holds all the time: weights, gradients, the optimizer's numbers, the average."""
        return 2 * self.weight_bytes() + self.optimizer_bytes() + self.ema_bytes()

    def weight_bytes(self) -> int:
        """The weights in float32; the gradients take the same."""
        return sum(p.nbytes for p in blueprint(self.config).parameters())

    def optimizer_bytes(self) -> int:
        """AdamW keeps two numbers a parameter; Muon one for matrices, but for the first and the head's."""
        total = self.weight_bytes()
        if self.optimizer == "adamw":
            return 2 * total
        matrices = [
            parameter.nbytes
            for name, parameter in blueprint(self.config).named_parameters()
            if parameter.ndim in (2, 4) and not name.startswith("head.")
        ]
        return 2 * total - sum(matrices[1:])

    def ema_bytes(self) -> int:
        """The running average of the weights."""
        return self.weight_bytes() if self.ema else 0


def plan(
    model: str | ModelConfig,
    *,
    image_size: int | tuple[int, int] | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    batch_size: int = 32,
    device: str = "cpu",
    precision: str = "float32",
    optimizer: OptimizerName = "adamw",
    ema: bool = True,
    checkpointing: bool = False,
    budget: int | None = None,
) -> Plan:
    """Count a model's parameters and operations and find the peak of its memory; nothing of it is allocated.

    Args:
        model: a variant's name or a config.
        image_size, num_classes, in_channels: in place of the model's own.
        batch_size: images a step.
        device: "cpu" or "cuda"; it need not be here.
        precision: of the autocast, see `pick_precision`.
        optimizer: what trains it.
        ema: training keeps an average of the weights.
        checkpointing: activations of the blocks are computed again in the backward pass.
        budget: bytes that the largest batches are found for.

    Raises:
        VitrailError: an unknown model, word or impossible size; the message gives the way out.
    """
    runtime = resident_bytes()  # before the planning itself fills memory
    given = {"image_size": image_size, "num_classes": num_classes, "in_channels": in_channels}
    config = configure(model, {key: value for key, value in given.items() if value is not None})
    place, dtype = _machine_words(device, precision)
    _check(batch_size, optimizer)
    work = Workload(
        config=config,
        device=place,
        precision=dtype,
        optimizer=optimizer,
        ema=ema,
        checkpointing=checkpointing,
    )
    found = _measure(work, model if isinstance(model, str) else type(model).__name__, batch_size, runtime)
    if budget is None:
        return found
    room = budget - found.runtime_bytes

    def training(batch: int) -> int:
        return work.with_heap(work.training_bytes(batch), training=True)

    def inference(batch: int) -> int:
        return work.with_heap(work.inference_bytes(batch), training=False)

    return replace(
        found,
        largest_training_batch=largest_batch(training, room),
        largest_inference_batch=largest_batch(inference, room),
    )


def configure(model: str | ModelConfig, changes: dict[str, object]) -> ModelConfig:
    """The config of a model, with fields replaced."""
    if isinstance(model, str):
        return model_config(model, **changes)
    return override(model, changes, type(model).__name__)


def _measure(work: Workload, name: str, batch_size: int, runtime: int) -> Plan:
    counted = count(work.config)
    training, inference = work.training_bytes(batch_size), work.inference_bytes(batch_size)
    held = runtime if work.device.type == "cpu" else _CUDA_CONTEXT
    return Plan(
        model=name,
        image_size=pair(work.config.image_size),
        in_channels=work.config.in_channels,
        num_classes=work.config.num_outputs,
        batch_size=batch_size,
        device=work.device.type,
        precision=str(work.precision).removeprefix("torch."),
        parameters=counted.parameters,
        flops=counted.flops,
        weights=work.weight_bytes(),
        gradients=work.weight_bytes(),
        optimizer=work.optimizer_bytes(),
        ema=work.ema_bytes(),
        activations=training - work.resting_bytes(),
        inference_bytes=inference,
        training_bytes=training,
        runtime_bytes=held,
        training_process_bytes=held + work.with_heap(training, training=True),
        inference_process_bytes=held + work.with_heap(inference, training=False),
    )


def _machine_words(device: str, precision: str) -> tuple[torch.device, torch.dtype]:
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise VitrailError(f"there is no device {device!r} to plan for: {nearest(kind, ['cpu', 'cuda'])}")
    place = torch.device(kind)
    if precision == "auto" and kind == "cuda" and not torch.cuda.is_available():
        return place, torch.bfloat16  # a plan for a GPU that is elsewhere
    return place, pick_precision(precision, place)


def _check(batch_size: int, optimizer: str) -> None:
    if batch_size < 1:
        raise VitrailError(f"batch size {batch_size} is not possible: use 1 or more")
    if optimizer not in get_args(OptimizerName):
        raise VitrailError(f"there is no optimizer {optimizer!r}: {nearest(optimizer, get_args(OptimizerName))}")
