"""The metric log for TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import VitrailError


def require_tensorboard() -> None:
    """Fail before the first step, not after the first evaluation.

    Raises:
        VitrailError: TensorBoard is not installed.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise VitrailError(
            'tensorboard=true needs TensorBoard: pip install "vitrail[tensorboard]", or leave it out'
        ) from error


def write_scalars(folder: Path, row: Mapping[str, Any]) -> None:
    """Add one evaluation; what an earlier, interrupted try wrote for this step or later ones is hidden."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder), purge_step=row["step"]) as writer:
        for name, value in row.items():
            if name != "step":
                writer.add_scalar(name, value, row["step"])
