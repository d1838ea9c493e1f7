"""A model and its use, and the memory that it takes."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import nn

from ..checkpoint.build import blueprint
from ..engines.prepacked import can_prepack, prepacked_bytes
from ..models.fields import ModelConfig
from ..nn.matrices import hidden_matrices
from ..objectives.objective import ObjectiveConfig
from ..rewrites.base import Rewrite
from .objective_step import root_module
from .trace import backward_peak, inference_peak

OptimizerName = Literal["adamw", "muon", "lamb"]

# Overhead of glibc's heap, as a fraction of the temporary tensors: measured, see LOG.md.
_HEAP_TRAINING, _HEAP_INFERENCE = 0.35, 0.5


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A model and its use, without the batch size."""

    config: ModelConfig
    device: torch.device
    precision: torch.dtype
    optimizer: OptimizerName
    ema: bool
    checkpointing: bool
    objective: ObjectiveConfig | None = None
    rewrites: tuple[Rewrite, ...] = ()

    def training_bytes(self, batch_size: int) -> int:
        """All tensors at the peak of a step, in the backward pass: the fused update allocates nothing."""
        if batch_size not in self._training_peaks:
            self._training_peaks[batch_size] = backward_peak(
                self.config,
                batch_size,
                self.precision,
                self.device,
                checkpointing=self.checkpointing,
                objective=self.objective,
                rewrites=self.rewrites,
            )
        return self._training_peaks[batch_size] + self.optimizer_bytes + self.ema_bytes()

    def inference_bytes(self, batch_size: int) -> int:
        """All tensors at the peak of a forward pass."""
        if batch_size not in self._inference_peaks:
            peak = inference_peak(self.config, batch_size, self.precision, self.device, self.rewrites)
            self._inference_peaks[batch_size] = peak
        return self._inference_peaks[batch_size]

    def training_process_bytes(self, batch_size: int) -> int:
        """Memory of a process that trains, without Python and PyTorch."""
        tensors = self.training_bytes(batch_size)
        return tensors + self._heap(_HEAP_TRAINING, tensors - self.resting_bytes())

    def inference_process_bytes(self, batch_size: int) -> int:
        """Memory of a process that predicts, without Python and PyTorch: also with prepacked copies of weights."""
        tensors = self.inference_bytes(batch_size)
        return tensors + self._heap(_HEAP_INFERENCE, tensors - self.weight_bytes) + self.prepacked_bytes

    @cached_property
    def _training_peaks(self) -> dict[int, int]:
        """Batch size -> traced peak of a step: a trace takes a while, and several sizes follow from it."""
        return {}

    @cached_property
    def _inference_peaks(self) -> dict[int, int]:
        return {}

    def _heap(self, share: float, temporary: int) -> int:
        return int(share * temporary) if self.device.type == "cpu" else 0

    @cached_property
    def prepacked_bytes(self) -> int:
        """Bytes of the second copy of the weights of linear layers that PyTorch's engine has on some CPUs."""
        if not can_prepack(self.device, self.precision):
            return 0
        return prepacked_bytes(blueprint(self.config, self.rewrites), self.precision)

    def resting_bytes(self) -> int:
        """Permanent tensors of training: weights, gradients, the optimiser's state, the moving average."""
        return self.training_weight_bytes + self.gradient_bytes + self.optimizer_bytes + self.ema_bytes()

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of the model's weights in float32."""
        return sum(p.nbytes for p in blueprint(self.config, self.rewrites).parameters())

    @cached_property
    def training_weight_bytes(self) -> int:
        """Bytes of all weights in training, those of the objective and its teacher included."""
        return sum(p.nbytes for p in self._root.parameters())

    @cached_property
    def gradient_bytes(self) -> int:
        """Bytes of the gradients, in float32."""
        return sum(p.nbytes for p in self._root.parameters() if p.requires_grad)

    @cached_property
    def optimizer_bytes(self) -> int:
        """Bytes of the optimiser's state: AdamW and LAMB have two numbers for each parameter, Muon one for hidden
        matrices."""
        total = self.gradient_bytes
        if self.optimizer != "muon":
            return 2 * total
        model = blueprint(self.config, self.rewrites)
        hidden = hidden_matrices(model)
        return 2 * total - sum(weight.nbytes for name, weight in model.named_parameters() if name in hidden)

    @cached_property
    def _root(self) -> nn.Module:
        """What is trained, on the meta device."""
        model = blueprint(self.config, self.rewrites)
        return model if self.objective is None else root_module(self.objective, model)

    def ema_bytes(self) -> int:
        """Bytes of the moving average of the weights."""
        return self.weight_bytes if self.ema else 0
