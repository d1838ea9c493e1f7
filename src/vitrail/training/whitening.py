"""Layers that are set by the training images before the first step."""

from torch import nn

from ..data.preprocess import Preprocess
from ..data.seeds import permutation
from ..nn import Whitening
from .training_data import TrainingData

_ENOUGH, _PART = 1000, 64


def fit_whitening(model: nn.Module, data: TrainingData, preprocess: Preprocess, seed: int) -> None:
    """Fit a model's whitening layers to up to 1,000 training images."""
    layers = [module for module in model.modules() if isinstance(module, Whitening)]
    if not layers:
        return
    read, sums = data.train.reader(preprocess.channels), [layer.moments() for layer in layers]
    chosen = sorted(permutation(len(data.train), seed)[:_ENOUGH])
    for start in range(0, len(chosen), _PART):  # large images are never in memory together
        pixels = preprocess.batch(read(index) for index in chosen[start : start + _PART])
        for each in sums:
            each.add(pixels)
    for layer, each in zip(layers, sums, strict=True):
        layer.fit(each)
