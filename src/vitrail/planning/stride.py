"""How many pixels a token of the last stage stands for."""

import torch

from ..models.fields import densest, example_inputs, pair
from ..models.registry import Config
from ..nn import Tokens
from .flops import blueprint


def stride_of(config: Config) -> tuple[int, int]:
    """(rows, columns) of pixels to a cell of the grid that the head sees; nothing is computed.

    Pictures whose sides are multiples of it fit every classifier.
    """
    config = densest(config)
    with torch.no_grad():
        tokens = blueprint(config).eval().forward_features(*example_inputs(config, device="meta"))
    assert isinstance(tokens, Tokens), "a classifier's features are one sequence"
    (height, width), (rows, columns) = pair(config.image_size), tokens.grid
    return height // rows, width // columns
