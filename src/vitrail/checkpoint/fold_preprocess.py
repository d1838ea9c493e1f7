"""A checkpoint whose model takes the values of uint8 images."""

from dataclasses import replace

from ..data.preprocess import Preprocess
from ..rewrites.preprocess import FoldPreprocess
from ..rewrites.registry import rewrite
from .contract import Checkpoint


def fold_preprocess(checkpoint: Checkpoint) -> Checkpoint:
    """A checkpoint with the same predictions, whose model takes values from 0 to 255 in place of normalised pixels.

    Mean and deviation of its preprocessing become part of the first layer, and uint8 images go to the device as they
    are. The model given is not changed; a checkpoint that is folded already is returned as it is.
    """
    preprocess = checkpoint.preprocess
    if preprocess.keeps_values:
        return checkpoint
    centre = tuple(float(round(255 * mean)) for mean in preprocess.mean)
    model = rewrite(checkpoint.model, FoldPreprocess(preprocess.mean, preprocess.std, centre))
    return replace(checkpoint, model=model, preprocess=keeping_values(preprocess))


def keeping_values(preprocess: Preprocess) -> Preprocess:
    """The same resize and crop without normalisation: pixels have the values of uint8 images, 0 to 255."""
    count = preprocess.channels
    return replace(preprocess, mean=(0.0,) * count, std=(1 / 255,) * count)
