"""Layers that are set by the training images before the first step."""

from torch import nn

from ..data.preprocess import Preprocess
from ..data.seeds import permutation
from ..nn import Whitening
from .training_data import TrainingData

_ENOUGH = 1000


def fit_whitening(model: nn.Module, data: TrainingData, preprocess: Preprocess, seed: int) -> None:
    """Fit a model's whitening layers to up to 1,000 training images."""
    layers = [module for module in model.modules() if isinstance(module, Whitening)]
    if not layers:
        return
    read = data.train.reader(preprocess.channels)
    pixels = preprocess.batch(read(index) for index in sorted(permutation(len(data.train), seed)[:_ENOUGH]))
    for layer in layers:
        layer.fit(pixels)
