"""Stride of a model: the size in pixels of a cell of the last stage's grid."""

from ..checkpoint.build import output_tokens
from ..models.fields import ModelConfig, pair


def stride_of(config: ModelConfig) -> tuple[int, int]:
    """(height, width) in pixels of a cell of the grid of the encoder's output; found on the meta device.

    Images whose sides are multiples of it fit every classifier.
    """
    config = config.densest()
    (height, width), (rows, columns) = pair(config.image_size), output_tokens(config).grid
    return height // rows, width // columns
