"""Stride of a model: the size in pixels of a cell of the last stage's grid."""

import torch

from ..checkpoint.build import blueprint
from ..models.fields import ModelConfig, pair
from ..nn import Tokens


def stride_of(config: ModelConfig) -> tuple[int, int]:
    """(height, width) in pixels of a cell of the grid of the encoder's output; found on the meta device.

    Images whose sides are multiples of it fit every classifier.
    """
    config = config.densest()
    with torch.no_grad():
        tokens = blueprint(config).eval().forward_features(config.example_inputs(device="meta")[0])
    assert isinstance(tokens, Tokens), "a classifier's features are one sequence"
    (height, width), (rows, columns) = pair(config.image_size), tokens.grid
    return height // rows, width // columns
