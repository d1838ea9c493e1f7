"""Small copies of all images of a source, in memory."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch
from jaxtyping import UInt8
from torch import Tensor
from torchvision.transforms.v2 import functional as tvf

from ..data.fitted import read_fitted
from ..data.open import Sample
from ..data.preprocess import Preprocess
from ..machine.facts import usable_cores
from ..progress import Track
from ..training.training_data import TrainingData

_SMALL = 44
"""Images up to this side are resized to 32 × 32 pixels, larger ones to 64 × 64."""


def small_images(data: TrainingData, samples: Sequence[Sample], progress: Track) -> UInt8[Tensor, "n C S S"]:
    """Whole images, resized to a small square; float images on the scale of all of them."""
    side, channels = 32 if data.side <= _SMALL else 64, data.channels
    preprocess = Preprocess(
        image_size=(side, side), crop=1.0, stretch=True, channels=channels, mean=(0,) * channels, std=(1,) * channels
    )

    def read(sample: Sample) -> Tensor:
        return read_fitted(replace(sample, strict=False), preprocess).image  # the survey has checked every file

    with ThreadPoolExecutor(usable_cores(), "vitrail-study") as pool:
        images = list(progress(pool.map(read, samples), len(samples), "images"))
    if all(image.dtype == torch.uint8 for image in images):
        return torch.stack(images)
    stacked = torch.stack([tvf.to_dtype(image, torch.float32, scale=True) for image in images])
    low, high = min(0.0, stacked.min().item()), max(1.0, stacked.max().item())
    return ((stacked - low) / (high - low) * 255).round().to(torch.uint8)
