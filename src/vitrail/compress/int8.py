"""8-bit matrix products, by NNCF. The only file that imports nncf."""

import io
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..engines.agreement import difference
from ..engines.openvino_graph import OpenVINOGraph
from ..engines.program import quiet
from ..errors import VitrailError, is_out_of_memory, last_line
from ..machine.signal_stack import same_signal_stack

Score = Callable[[Any], float]
"""`openvino.Model` -> accuracy, in points."""
_SMOOTHING = (0.3, 0.95)
"""Exponents of SmoothQuant that are tried, see `quantised`."""
_NOT_SCALED = -1.0
"""Exponent without SmoothQuant."""
_GROUPS, _LARGEST_GROUP = 16, 256
"""Channels that share a dynamic range: a multiple of the first, at most the second."""
_CALIBRATED, _COMPARED = 128, 32
"""Most images for calibration, and for comparing exponents."""


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


def quantised(model: Any, images: Sequence[Tensor], alpha: float) -> Any:
    """An `openvino.Model` with 8-bit matrix products.

    Weights have a scale for each output channel. Ranges of activations are those of the images; channels with outliers
    are scaled down, and the weights that read them up (Xiao et al., 2023, "SmoothQuant"). NNCF corrects the biases of
    convolutions alone for the mean error.

    Args:
        model: what `to_openvino` returned; it is not changed.
        images: batches of images for calibration, as the model takes them.
        alpha: exponent of SmoothQuant: at 0 outliers stay in the activations, at 1 they go to the weights.
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
            advanced_parameters=_smoothing(nncf, alpha),
        )


def dynamically_quantised(model: Any) -> Any:
    """An `openvino.Model` whose weights have 8 bits, and whose activations get them while it runs.

    Weights have a scale for each output channel, activations one for each token and group of at most 256 channels, so
    that nothing is calibrated, and outliers cost their own group only. On processors without products of 8-bit integers
    (VNNI) only the weights have 8 bits.

    Args:
        model: what `to_openvino` returned; it is not changed.

    Raises:
        VitrailError: the lengths of the products cannot be divided into groups.
    """
    nncf = import_nncf()
    with _silent():
        made = nncf.compress_weights(model.clone(), mode=nncf.CompressWeightsMode.INT8_SYM)
    # Read by OpenVINO when the model is compiled, also from a file.
    made.set_rt_info(str(_group_size(model)), ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"])
    return made


def _group_size(model: Any) -> int:
    """The largest multiple of 16, at most 256, that divides the lengths of all products with weights.

    OpenVINO ignores sizes that are no multiple of 16.

    Raises:
        VitrailError: there is none.
    """
    products = (each for each in model.get_ops() if each.get_type_name() == "MatMul")
    common = math.gcd(*(length for each in products if (length := _length(each))))
    sizes = [size for size in range(_GROUPS, _LARGEST_GROUP + 1, _GROUPS) if common % size == 0]
    if not sizes:
        raise VitrailError(
            f"dynamic int8 is for products whose lengths are multiples of {_GROUPS}, and those of this model have only "
            f"the divisor {common} in common"
        )
    return sizes[-1]


def _length(product: Any) -> int:
    """Length of a product with weights; 0 without."""
    weights = product.input_value(1)
    if weights.get_node().get_type_name() != "Constant":
        return 0
    return int(weights.get_shape()[-1 if product.get_attributes()["transpose_b"] else -2])


def best_quantised(model: Any, images: Sequence[Tensor]) -> tuple[Any, float]:
    """The 8-bit model that differs least from `model`, and its exponent of SmoothQuant.

    Every fifth image, at most 32 of them, is for comparison, and at most 128 of the others are for calibration: on
    images that ranges were taken from, a high exponent looks better than it is.

    Args:
        model: what `to_openvino` returned; it is not changed.
        images: as the model takes them, without a batch. With one nothing can be compared, and the exponent is low.
    """
    seen, held_out = calibration_batches(images), _held_out(len(images))
    if not held_out:
        return quantised(model, seen, _SMOOTHING[0]), _SMOOTHING[0]
    others = _batches([images[place] for place in held_out], _COMPARED)
    expected = _outputs(model, others)
    made = {alpha: quantised(model, seen, alpha) for alpha in _SMOOTHING}
    differences = {alpha: difference(_outputs(each, others), expected) for alpha, each in made.items()}
    alpha = min(differences, key=lambda alpha: differences[alpha])
    return made[alpha], alpha


def _outputs(model: Any, images: Sequence[Tensor]) -> list[Tensor]:
    """All outputs of a model in float32, over all images."""
    graph = OpenVINOGraph(model.clone())
    found = zip(*(graph(batch) for batch in images), strict=True)
    return [torch.cat(each) for each in found]


def _smoothing(nncf: Any, alpha: float) -> Any:
    alphas = nncf.AdvancedSmoothQuantParameters(matmul=alpha)
    return nncf.AdvancedQuantizationParameters(smooth_quant_alphas=alphas)


def partly_quantised(model: Any, images: Sequence[Tensor], score: Score, most_lost: float) -> Any:
    """As `quantised`, with the layers that cost most accuracy left in float32 until at most `most_lost` is lost.

    Layers are ranked by the score of a model in which they alone are left in float32. Channels are not scaled: NNCF
    gives a layer that it leaves in float32 its weights back, and goes on scaling what the layer reads.

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
            advanced_quantization_parameters=_smoothing(nncf, _NOT_SCALED),
            advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(max_num_iterations=30),
        )


def calibration_batches(images: Sequence[Tensor]) -> list[Tensor]:
    """Images for calibration, as batches of one: not those that models are compared on, see `best_quantised`."""
    held_out = _held_out(len(images))
    return _batches([image for place, image in enumerate(images) if place not in held_out], _CALIBRATED)


def _held_out(count: int) -> range:
    """Places of the images that models are compared on: every fifth, of fewer the last, of one none."""
    return range(min(4, count - 1) or 1, count, 5)


def _batches(images: Sequence[Tensor], most: int) -> list[Tensor]:
    """At most so many of the images, evenly drawn, as batches of one."""
    chosen = np.linspace(0, len(images) - 1, min(most, len(images))).round().astype(int)
    return [images[index][None] for index in chosen]


@contextmanager
def _silent() -> Iterator[None]:
    """Context manager without NNCF's progress bars, which it prints, and messages; its cores leave nothing behind.

    Raises:
        VitrailError: any error inside.
    """
    with quiet(), redirect_stdout(io.StringIO()), same_signal_stack():
        try:
            yield
        except VitrailError:  # of a score
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise VitrailError(f"NNCF cannot make an 8-bit model of this one ({last_line(error)})") from error
