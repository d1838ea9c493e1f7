"""Polygons and run lengths as maps: to the pixel, and as pycocotools and Pillow have them."""

import pickle
import re
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from vitrail.data.regions import Region, RegionMap, parse_runs


def drawn(regions: list[Region], height: int, width: int, *, fractions: bool = False) -> np.ndarray:
    return RegionMap.of(regions, (height, width), fractions=fractions).read().numpy()


def rectangle(left: float, top: float, right: float, bottom: float) -> list[float]:
    return [left, top, right, top, right, bottom, left, bottom]


def test_a_rectangle_covers_its_pixels():
    found = drawn([Region.of_polygons(3, [rectangle(2, 1, 6, 5)])], 7, 9)
    expected = np.zeros((7, 9), dtype=np.int16)
    expected[1:5, 2:6] = 3
    assert found.dtype == np.int16
    assert (found == expected).all()


def test_fractions_are_of_the_sides():
    polygon = [value / side for value, side in zip(rectangle(2, 1, 6, 5), [9, 7] * 4, strict=True)]
    pixels = drawn([Region.of_polygons(3, [rectangle(2, 1, 6, 5)])], 7, 9)
    assert (drawn([Region.of_polygons(3, [polygon])], 7, 9, fractions=True) == pixels).all()


def inside_by_angles(polygon: list[float], x: float, y: float) -> bool:
    """The winding number of a polygon around a point, from the sum of the angles of its corners."""
    corners = np.array(polygon).reshape(-1, 2) - (x, y)
    angles = np.arctan2(corners[:, 1], corners[:, 0])
    steps = np.diff(np.append(angles, angles[0]))
    total = ((steps + np.pi) % (2 * np.pi) - np.pi).sum()
    return round(abs(total) / (2 * np.pi)) % 2 == 1


@pytest.mark.parametrize("seed", range(5))
def test_centres_of_pixels_decide(seed: int):
    generator = np.random.default_rng(seed)
    angles = np.sort(generator.uniform(0, 2 * np.pi, 9))
    radius = generator.uniform(3, 14, 9)
    polygon = (np.stack([np.cos(angles), np.sin(angles)], 1) * radius[:, None] + (13.1, 10.7)).ravel().tolist()
    found = drawn([Region.of_polygons(1, [polygon])], 21, 25)
    expected = [[inside_by_angles(polygon, x + 0.5, y + 0.5) for x in range(25)] for y in range(21)]
    assert (found == np.array(expected)).all()


def test_polygons_outside_the_image_are_cut():
    found = drawn(
        [Region.of_polygons(1, [rectangle(-5, -5, 3, 2)]), Region.of_polygons(2, [rectangle(7, 4, 30, 9)])], 6, 9
    )
    expected = np.zeros((6, 9), dtype=np.int16)
    expected[:2, :3] = 1
    expected[4:, 7:] = 2
    assert (found == expected).all()
    assert not drawn([Region.of_polygons(1, [rectangle(20, 20, 30, 30)])], 6, 9).any()


def test_the_smaller_object_is_in_front_whatever_the_order():
    large, small = Region.of_polygons(1, [rectangle(0, 0, 8, 8)]), Region.of_polygons(2, [rectangle(2, 2, 4, 4)])
    runs = Region.of_runs(3, np.array([8 * 6 + 6, 2, 6, 2]))  # the corner of 2x2 pixels
    for order in ([large, small, runs], [runs, small, large]):
        found = drawn(order, 8, 8)
        assert (found[2:4, 2:4] == 2).all()
        assert (found[6:, 6:] == 3).all()
        assert (np.bincount(found.ravel()) == [0, 56, 4, 4]).all()


def test_parts_of_one_object_are_joined():
    found = drawn([Region.of_polygons(1, [rectangle(0, 0, 4, 4), rectangle(2, 2, 6, 6)])], 6, 6)
    assert (found == 1).sum() == 28


def test_maps_can_be_pickled_and_compared():
    one = RegionMap.of([Region.of_polygons(1, [rectangle(0, 0, 4, 4)])], (5, 5))
    assert pickle.loads(pickle.dumps(one)) == one
    assert hash(one) == hash(RegionMap.of([Region.of_polygons(1, [rectangle(0, 0, 4, 4)])], (5, 5)))


def masks() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    shape = Image.new("L", (37, 23))
    ImageDraw.Draw(shape).ellipse((3, 4, 30, 19), fill=1)
    large = np.zeros((700, 900), dtype=np.uint8)
    large[100:650, 5:890] = 1
    return [
        np.array(shape),
        (generator.random((23, 37)) < 0.3).astype(np.uint8),
        np.ones((5, 7), dtype=np.uint8),
        np.zeros((5, 7), dtype=np.uint8),
        large,
    ]


@pytest.mark.parametrize("mask", masks(), ids=["ellipse", "noise", "all", "none", "large"])
def test_run_lengths_are_those_of_pycocotools(mask: np.ndarray):
    coco = pytest.importorskip("pycocotools.mask")
    packed = coco.encode(np.asfortranarray(mask))
    height, width = mask.shape
    runs = parse_runs(packed["counts"].decode(), [height, width], (height, width))
    assert isinstance(runs, np.ndarray)
    assert (drawn([Region.of_runs(1, runs)], height, width) == mask).all()
    flat = mask.ravel(order="F")
    ends = [0, *(np.flatnonzero(np.diff(flat)) + 1), len(flat)]
    counts = [0] * int(flat[0]) + [int(stop - start) for start, stop in pairwise(ends)]
    assert runs.tolist() == counts
    plain = parse_runs(counts, [height, width], (height, width))
    assert isinstance(plain, np.ndarray)
    assert plain.tolist() == counts


def test_polygons_nearly_as_pycocotools_draws_them():
    coco = pytest.importorskip("pycocotools.mask")
    angles = np.linspace(0, 2 * np.pi, 30, endpoint=False)
    polygon = np.stack([50 + 40 * np.cos(angles), 45 + 30 * np.sin(angles)], 1).ravel().tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its arrays know NumPy 2 not yet
        theirs = coco.decode(coco.frPyObjects([polygon], 100, 120))[..., 0].astype(bool)
    ours = drawn([Region.of_polygons(1, [polygon])], 100, 120) == 1
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.97  # they round corners to fifths of a pixel


@pytest.mark.parametrize(
    ("counts", "size", "words"),
    [
        ([3, 4], [2, 4], "are of 7 pixels, the image has 8"),
        ([3, 5], [4, 2], r"for \[height, width\] \[4, 2\], the image is \[2, 4\]"),
        ([3, -5, 10], [2, 4], "neither numbers of pixels nor text"),
        ([3, 5.0], [2, 4], "neither numbers"),
        ([True, 7], [2, 4], "neither numbers"),
        (None, [2, 4], "neither numbers"),
        ([3, 5], None, r"for \[height, width\] None"),
        ("\x01", [2, 4], "damaged"),
        ("P", [2, 4], "damaged"),  # a character that must be followed by another
        ("oooooooooo0", [2, 4], "damaged"),
        ("éé", [2, 4], "damaged"),
        ("", [2, 4], "are of 0 pixels"),
    ],
)
def test_run_lengths_that_are_wrong(counts: object, size: object, words: str):
    found = parse_runs(counts, size, (2, 4))
    assert isinstance(found, str)
    assert re.search(words, found)


def test_int16_tensors():
    assert RegionMap.of([], (2, 3)).read().equal(torch.zeros(2, 3, dtype=torch.int16))
