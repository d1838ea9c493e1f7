"""Statistics of channels: NumPy's values, all their digits, and an error for channels without contrast."""

import numpy as np
import pytest
import torch

from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.training.channels import channel_statistics, require_scale


def statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return channel_statistics(lambda index: torch.from_numpy(images[index]), len(images), 0)


@pytest.mark.parametrize("scale", [1e-7, 1e-3, 0.3, 1.0, 500.0, 1e6])
def test_digits_are_kept_at_any_scale(scale: float) -> None:
    images = (np.random.default_rng(0).normal(2, 1, (20, 2, 8, 8)) * scale).astype(np.float32)
    mean, std = statistics(images)
    np.testing.assert_allclose(mean, images.mean((0, 2, 3), dtype=np.float64), rtol=2e-3)
    np.testing.assert_allclose(std, images.std((0, 2, 3), dtype=np.float64), rtol=2e-3)


def test_ordinary_statistics_have_four_places() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    mean, std = statistics(images)
    assert mean == tuple(round(v, 4) for v in (images / 255).mean((0, 2, 3)).tolist())
    assert std == tuple(round(v, 4) for v in (images / 255).std((0, 2, 3)).tolist())


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_a_channel_without_contrast_is_named(noise: float) -> None:
    random = np.random.default_rng(0)
    images = random.normal(0, 1, (20, 4, 8, 8)).astype(np.float32)
    images[:, 2] = 0.7 + noise * random.normal(0, 1, (20, 8, 8))
    with pytest.raises(VitrailError, match=r"of the 4 channels .* channel 3 \(always 0\.7\) holds the same value"):
        statistics(images)
    with pytest.raises(VitrailError, match=r"channel 1 \(always 0\), channel 2 \(always 0\) hold the same"):
        statistics(np.zeros((3, 2, 4, 4), np.uint8))


def test_another_scale_than_that_of_the_weights_is_refused() -> None:
    images = np.random.default_rng(0).random((20, 3, 8, 8)).astype(np.float32)

    def check(values: np.ndarray) -> None:
        require_scale(lambda index: torch.from_numpy(values[index]), len(values), 0, Preprocess())

    check(images)
    check(images * 3 - 1)
    with pytest.raises(VitrailError, match="another scale than those of the weights"):
        check(images * 255)
