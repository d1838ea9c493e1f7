"""Sketches against plain loops, and what they do to pictures without edges."""

import numpy as np
from scipy import ndimage

from vitrail.data.sketch import SKETCHES, sobel, xdog


def halves(channels=3):
    image = np.full((20, 20, channels), 40, np.uint8)
    image[:, 10:] = 200
    return image


def test_sobel_draws_the_edge_and_nothing_else():
    drawn = sobel(halves())
    assert drawn.shape == (20, 20, 3)
    assert (drawn[:, 9:11] == 0).all()
    assert (drawn[:, :9] == 255).all()
    assert (drawn[:, 11:] == 255).all()


def test_sobel_equals_the_written_out_gradient():
    image = np.random.default_rng(0).integers(0, 256, (9, 8, 1), dtype=np.uint8)
    plane = np.pad(image[:, :, 0] / 255.0, 1, mode="symmetric")
    edges = np.zeros((9, 8))
    for row in range(9):
        for column in range(8):
            box = plane[row : row + 3, column : column + 3]
            down = (box[2] - box[0]) @ [1, 2, 1]
            right = (box[:, 2] - box[:, 0]) @ [1, 2, 1]
            edges[row, column] = np.hypot(down, right)
    expected = np.clip(1 - edges / np.quantile(edges, 0.99), 0, 1) * 255
    assert np.abs(sobel(image)[:, :, 0] - expected).max() <= 0.51


def test_xdog_equals_its_formula():
    image = np.random.default_rng(1).integers(0, 256, (224, 16, 1), dtype=np.uint8)[:, :, :]
    plane = image[:, :, 0] / 255.0
    fine = 16 / 224  # the shorter side decides
    sharp = 21 * ndimage.gaussian_filter(plane, fine, mode="nearest")
    sharp -= 20 * ndimage.gaussian_filter(plane, 1.6 * fine, mode="nearest")
    expected = np.where(sharp >= 0.5, 1, 1 + np.tanh(10 * (sharp - 0.5)))
    assert np.abs(xdog(image)[:, :, 0] - np.clip(expected, 0, 1) * 255).max() <= 1


def test_a_picture_without_edges_is_white():
    flat = np.full((12, 12, 1), 180, np.uint8)
    for name, draw in SKETCHES.items():
        assert (draw(flat) == 255).all(), name
