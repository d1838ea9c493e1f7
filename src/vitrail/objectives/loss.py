"""What every objective returns."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Loss:
    """What is minimised: `total`, a scalar tensor with a gradient, and its named `parts` for the log."""

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)
