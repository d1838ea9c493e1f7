"""Cost of a model: parameters, operations and memory, without building it."""

from dataclasses import dataclass, replace
from typing import get_args

import torch

from ..checkpoint.read import named_config, named_rewrites
from ..errors import VitrailError, nearest
from ..machine.devices import pick_precision
from ..machine.facts import resident_bytes
from ..models.fields import ModelConfig, pair
from ..models.registry import override
from ..objectives.objective import ObjectiveConfig
from ..objectives.registry import objective_config
from ..progress import to_stderr
from ..rewrites.base import Rewrite
from .budget import largest_batch
from .flops import count
from .objective_step import planned_objective
from .parts import PartCost, part_costs
from .workload import OptimizerName, Workload

# Approximate memory of a CUDA context and its libraries on the device; it differs between GPUs and drivers.
_CUDA_CONTEXT = 512 * 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Cost of a model at an image size and a batch size. Memory is in bytes.

    Attributes:
        model: name of the variant or of the config class.
        image_size: (height, width) in pixels.
        frames: number of frames of a clip, which then is meant by "image"; None for images.
        parameters: number of parameters.
        flops: floating-point operations of a forward pass of one image, a multiply and an add being two.
            Papers often give multiply-adds and call them FLOPs; those are half of it.
        multiply_adds: half of `flops`.
        weights, gradients, optimizer, ema: permanent tensors of training, float32.
        activations: further tensors at the peak of a training step, the batch included.
        inference_bytes: all tensors at the peak of a forward pass.
        training_bytes: all tensors at the peak of a training step.
        runtime_bytes: memory of Python and PyTorch before the first tensor, measured in the process that makes
            the plan; on CUDA, approximately the context on the device.
        training_process_bytes, inference_process_bytes: tensors, runtime and, on a CPU, a measured overhead of the
            heap; predicting, also the second copy of the weights of linear layers that the engine makes on some CPUs.
        largest_training_batch, largest_inference_batch: largest batch whose process fits the budget, 0 if not even
            one image does; None without a budget.
        parts: where operations, weights and kept activations are; empty unless `by_part`.
    """

    model: str
    image_size: tuple[int, int]
    frames: int | None
    in_channels: int
    num_classes: int
    batch_size: int
    device: str
    precision: str
    parameters: int
    flops: int
    multiply_adds: int
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
    parts: tuple[PartCost, ...] = ()


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
    objective: ObjectiveConfig | str | None = None,
    budget: int | None = None,
    by_part: bool = False,
    rewrites: tuple[Rewrite, ...] = (),
) -> Plan:
    """Compute the parameters, operations and peak memory of a model, without allocating it.

    Args:
        model: name of a variant, a config, or a checkpoint: a run, a folder, a file or a hub id, whose files are
            downloaded.
        image_size, num_classes, in_channels: replace the model's own.
        batch_size: images per step.
        device: "cpu" or "cuda"; the machine need not have it.
        precision: number format of autocast, see `pick_precision`.
        optimizer: "adamw", "muon" or "lamb".
        ema: whether training keeps a moving average of the weights.
        checkpointing: whether activations of the blocks are recomputed in the backward pass.
        objective: an objective, by name or config: training then has its parts too (decoder, teacher, several views,
            losses of pixels); None: that of the model's task.
        budget: memory in bytes, for which the largest batches are found.
        by_part: count operations, weights and kept activations by part, see `part_costs`; takes some seconds.
        rewrites: applied to the model, after those of a checkpoint.

    Raises:
        VitrailError: unknown model or name, or an invalid size.
    """
    runtime = resident_bytes()  # before the planning itself allocates memory
    given = {"image_size": image_size, "num_classes": num_classes, "in_channels": in_channels}
    config = configure(model, {key: value for key, value in given.items() if value is not None})
    if batch_size < 1:
        raise VitrailError(f"batch size {batch_size} is not possible: use 1 or more")
    work = workload(
        config,
        device=device,
        precision=precision,
        optimizer=optimizer,
        ema=ema,
        checkpointing=checkpointing,
        objective=objective,
        rewrites=(*rewrites_of(model), *rewrites),
    )
    found = _measure(work, model if isinstance(model, str) else type(model).__name__, batch_size, runtime)
    if by_part:
        found = replace(found, parts=part_costs(work.config, batch_size, work.precision, work.device, work.rewrites))
    return found if budget is None else _with_largest(found, work, budget - found.runtime_bytes)


def workload(
    config: ModelConfig,
    *,
    device: str,
    precision: str,
    optimizer: OptimizerName,
    ema: bool,
    checkpointing: bool,
    objective: ObjectiveConfig | str | None = None,
    rewrites: tuple[Rewrite, ...] = (),
) -> Workload:
    """A config and its use; the arguments are those of `plan`.

    Raises:
        VitrailError: unknown name.
    """
    trained, goal = _with_objective(config, objective)
    place, dtype = _device_and_dtype(device, precision)
    if optimizer not in get_args(OptimizerName):
        raise VitrailError(f"there is no optimizer {optimizer!r}: {nearest(optimizer, get_args(OptimizerName))}")
    return Workload(
        config=trained,
        device=place,
        precision=dtype,
        optimizer=optimizer,
        ema=ema,
        checkpointing=checkpointing,
        objective=goal,
        rewrites=rewrites,
    )


def _with_objective(
    config: ModelConfig, given: ObjectiveConfig | str | None
) -> tuple[ModelConfig, ObjectiveConfig | None]:
    """The config as an objective trains it, and the objective; if none is given, that of the model's task."""
    goal = objective_config(given)() if isinstance(given, str) else given
    return (config, planned_objective(config)) if goal is None else (goal.model_config(config), goal)


def _with_largest(found: Plan, work: Workload, room: int) -> Plan:
    """The plan with the largest batches that fit into this number of bytes."""
    return replace(
        found,
        largest_training_batch=largest_batch(work.training_process_bytes, room),
        largest_inference_batch=largest_batch(work.inference_process_bytes, room),
    )


def configure(model: str | ModelConfig, changes: dict[str, object]) -> ModelConfig:
    """Return the config of a model, by name, path or hub id of a checkpoint, or config, with fields replaced."""
    if not isinstance(model, str):
        return override(model, changes, type(model).__name__)
    return override(named_config(model, to_stderr), changes, model)


def rewrites_of(model: str | ModelConfig) -> tuple[Rewrite, ...]:
    """Rewrites of a checkpoint; none for the name of a variant or a config."""
    return named_rewrites(model, to_stderr) if isinstance(model, str) else ()


def _measure(work: Workload, name: str, batch_size: int, runtime: int) -> Plan:
    counted = count(work.config, work.rewrites)
    training = work.training_bytes(batch_size)
    held = runtime if work.device.type == "cpu" else _CUDA_CONTEXT
    return Plan(
        model=name,
        image_size=pair(work.config.image_size),
        frames=work.config.frames,
        in_channels=work.config.in_channels,
        num_classes=work.config.num_outputs,
        batch_size=batch_size,
        device=work.device.type,
        precision=str(work.precision).removeprefix("torch."),
        parameters=counted.parameters,
        flops=counted.flops,
        multiply_adds=counted.flops // 2,
        weights=work.training_weight_bytes,
        gradients=work.gradient_bytes,
        optimizer=work.optimizer_bytes,
        ema=work.ema_bytes(),
        activations=training - work.resting_bytes(),
        inference_bytes=work.inference_bytes(batch_size),
        training_bytes=training,
        runtime_bytes=held,
        training_process_bytes=held + work.training_process_bytes(batch_size),
        inference_process_bytes=held + work.inference_process_bytes(batch_size),
    )


def _device_and_dtype(device: str, precision: str) -> tuple[torch.device, torch.dtype]:
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise VitrailError(f"there is no device {device!r} to plan for: {nearest(kind, ['cpu', 'cuda'])}")
    place = torch.device(kind)
    if precision == "auto" and kind == "cuda" and not torch.cuda.is_available():
        return place, torch.bfloat16  # a plan for a GPU of another machine
    return place, pick_precision(precision, place)
