"""8-bit matrix products with calibration, by NNCF. The only file that imports nncf."""

import io
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

import numpy as np
from torch import Tensor

from ..engines.program import quiet
from ..errors import VitrailError
from ..machine.signal_stack import same_signal_stack

Score = Callable[[Any], float]
"""`openvino.Model` -> accuracy, in points."""


def import_nncf() -> Any:
    """The module nncf, without its reports to its maker.

    Raises:
        VitrailError: it is not installed.
    """
    os.environ.setdefault("NNCF_CI", "1")  # read when it is imported: no telemetry
    try:
        import nncf
    except ImportError as error:
        raise VitrailError('8-bit models are made by NNCF: pip install "vitrail[optimize]"') from error
    nncf.set_log_level(logging.ERROR)
    return nncf


def quantised(model: Any, images: Sequence[Tensor]) -> Any:
    """An `openvino.Model` with 8-bit matrix products.

    Weights have a scale for each output channel. Ranges of activations are those of the images; channels with outliers
    are scaled down, and the weights that read them up (Xiao et al., 2023, "SmoothQuant"); biases are corrected for the
    mean error (Nagel et al., 2019).

    Args:
        model: what `to_openvino` returned; it is not changed.
        images: batches of images for calibration, as the model takes them.
    """
    nncf = import_nncf()
    batches = [batch.numpy() for batch in images]
    with _silent():
        return nncf.quantize(
            model.clone(),
            nncf.Dataset(batches),
            subset_size=len(batches),
            model_type=nncf.ModelType.TRANSFORMER,
            fast_bias_correction=True,
        )


def partly_quantised(model: Any, images: Sequence[Tensor], score: Score, most_lost: float) -> Any:
    """As `quantised`, with the layers that cost most accuracy left in float32 until at most `most_lost` is lost.

    Layers are ranked by the score of a model in which they alone are left in float32.

    Args:
        model: what `to_openvino` returned; it is not changed.
        images: see `quantised`.
        score: accuracy of a model, in points.
        most_lost: points that may be lost.
    """
    nncf = import_nncf()
    batches = [batch.numpy() for batch in images]
    data = nncf.Dataset(batches)
    with _silent():
        return nncf.quantize_with_accuracy_control(
            model.clone(),
            calibration_dataset=data,
            validation_dataset=data,
            validation_fn=lambda compiled, _: (score(compiled), None),
            subset_size=len(batches),
            max_drop=most_lost,
            drop_type=nncf.DropType.ABSOLUTE,
            model_type=nncf.ModelType.TRANSFORMER,
            advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(max_num_iterations=30),
        )


def calibration_batches(images: Sequence[Tensor], most: int = 128) -> list[Tensor]:
    """Images for calibration, as batches of one, evenly drawn."""
    chosen = np.linspace(0, len(images) - 1, min(most, len(images))).round().astype(int)
    return [images[index][None] for index in chosen]


@contextmanager
def _silent() -> Iterator[None]:
    """Context manager without NNCF's progress bars, which it prints, and messages; its cores leave nothing behind."""
    with quiet(), redirect_stdout(io.StringIO()), same_signal_stack():
        yield
