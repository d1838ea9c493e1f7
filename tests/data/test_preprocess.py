"""The same pixels as timm's evaluation."""

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from vitrail.data.preprocess import Preprocess


@pytest.mark.parametrize("size", [(300, 400), (517, 250), (224, 224), (90, 120)])
@pytest.mark.parametrize(
    ("side", "crop", "how"), [(224, 0.9, "bicubic"), (224, 0.875, "bilinear"), (96, 1.0, "bicubic")]
)
def test_pixels_against_timm(size, side, crop, how):
    smooth = np.add.outer(np.sin(np.arange(size[0]) / 17), np.cos(np.arange(size[1]) / 23))
    array = (np.stack([smooth, -smooth, smooth.T.reshape(size)], -1) * 50 + 128).astype(np.uint8)
    theirs = create_transform((3, side, side), interpolation=how, crop_pct=crop)(Image.fromarray(array))
    ours = Preprocess(image_size=(side, side), crop=crop, interpolation=how)(torch.from_numpy(array).permute(2, 0, 1))
    assert ours.shape == theirs.shape
    # Both round to whole uint8 values after the resize; a step of one is 1 / 255 / 0.225.
    assert (ours - theirs).abs().max() < 2.1 / 255 / 0.225
    assert (ours - theirs).abs().mean() < 0.2 / 255 / 0.225


def test_values_round_trip():
    preprocess = Preprocess(image_size=(20, 30), crop=0.8, mean=(0.1,), std=(0.3,), channels=1)
    assert Preprocess.from_dict(preprocess.to_dict()) == preprocess
