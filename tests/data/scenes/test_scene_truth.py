"""What scenes say of themselves, against the pixels: by loops, closed forms and captions that are parsed again."""

import re
from itertools import pairwise

import numpy as np
import pytest

from vitrail.data.scenes import SceneOptions, SceneSet, captions, numbers, picture, scene, scene_set
from vitrail.data.scenes.scene import kinds
from vitrail.data.scenes.shapes import COLOURS, SHAPES
from vitrail.data.scenes.sprites import shape_sprite

SCENES = SceneSet(SceneOptions(size=96))


def extent(instances: np.ndarray, number: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the pixels of an object, one by one."""
    found = [(x, y) for y, row in enumerate(instances.tolist()) for x, value in enumerate(row) if value == number]
    columns, rows = zip(*found, strict=True)
    return min(columns), min(rows), max(columns) + 1, max(rows) + 1


@pytest.mark.parametrize("text", ["size=48", "size=48,objects=1", "size=48,turn=180,classes=3,seed=7"])
def test_a_scene_is_a_function_of_its_options(text: str) -> None:
    first = [picture(scene_set(SceneOptions.parse(text)), "val", index).tobytes() for index in range(4)]
    scene.cache_clear()
    kinds.cache_clear()
    again = [picture(scene_set(SceneOptions.parse(text)), "val", index).tobytes() for index in range(4)]
    assert first == again
    assert len(set(first)) == 4
    other = scene_set(SceneOptions.parse(f"{text.partition(',seed')[0]},seed=8"))
    assert picture(other, "val", 0).tobytes() != first[0]
    assert picture(scene_set(SceneOptions.parse(text)), "test", 0).tobytes() != first[0]


@pytest.mark.parametrize("index", range(6))
def test_boxes_are_the_extent_of_the_visible_pixels(index: int) -> None:
    found = scene(SCENES, "train", index)
    assert 3 <= len(found.objects) <= 6
    for number, each in enumerate(found.objects, start=1):
        edges = [each.box.left, each.box.top, each.box.right, each.box.bottom]
        assert edges == pytest.approx([value / 96 for value in extent(found.instances, number)])
        assert each.box.label == each.thing.label


def test_maps_follow_the_instances() -> None:
    for index in range(6):
        found = scene(SCENES, "train", index)
        classes, depth = found.classes(), found.depth()
        for y, x in np.ndindex(found.instances.shape):
            number = int(found.instances[y, x])
            if number:
                thing = found.objects[number - 1].thing
                assert classes[y, x] == thing.label + 1
                assert depth[y, x] == np.float32(thing.depth)
            else:
                assert classes[y, x] == 0
                assert depth[y, x] == pytest.approx(6 - 2 * (y + 0.5) / 96)


def test_near_objects_cover_far_ones_and_enough_of_each_is_seen() -> None:
    covered = 0
    for index in range(30):
        found = scene(SCENES, "train", index)
        depths = [each.thing.depth for each in found.objects]
        assert depths == sorted(depths)
        assert depths[-1] < 4 <= 6  # no object behind the background
        assert found.objects[0].thing.size == max(each.thing.size for each in found.objects)
        nearest = np.full((96, 96), np.inf)
        owner = np.zeros((96, 96), dtype=int)
        for number, each in enumerate(found.objects, start=1):
            for y, x in zip(*np.nonzero(each.sprite.alpha() >= 0.5), strict=True):
                place = each.top + y, each.left + x
                if each.thing.depth < nearest[place]:
                    nearest[place], owner[place] = each.thing.depth, number
        assert (owner == found.instances).all()
        for number, each in enumerate(found.objects, start=1):
            seen = (owner == number).sum() / (each.sprite.alpha() >= 0.5).sum()
            assert seen == pytest.approx(each.seen)
            assert seen >= 0.3
            covered += seen < 1
    assert covered > 20  # the test had something to test


def test_objects_have_their_colours() -> None:
    scenes = SceneSet(SceneOptions(size=192))
    values = np.array(list(COLOURS.values()), dtype=float)
    for index in range(20):
        image, found = picture(scenes, "test", index), scene(scenes, "test", index)
        for number, each in enumerate(found.objects, start=1):
            middle = np.median(image[found.instances == number], axis=0)
            nearest = list(COLOURS)[int(np.abs(values - middle).sum(axis=1).argmin())]
            assert nearest == each.thing.colour


AREAS = {
    "circle": np.pi * 0.9**2,
    "square": 1.4**2,
    "triangle": 3**1.5 / 4,
    "star": 5 * 0.42 * np.sin(np.pi / 5),
    "cross": 4 * 0.92 * 0.6 - 0.6**2,
    "ring": np.pi * (0.9**2 - 0.46**2),
    "diamond": 2 * 0.58,
    "hexagon": 3**1.5 / 2,
    "pentagon": 2.5 * np.sin(2 * np.pi / 5),
    "semicircle": np.pi * 0.91**2 / 2,
    "arrow": 0.8 + 0.95 * 0.48,
    "pill": np.pi * 0.38**2 + 4 * 0.56 * 0.38,
}
"""Areas of shapes in a circle of radius 1."""


@pytest.mark.parametrize("shape", AREAS)
def test_areas_of_shapes(shape: str) -> None:
    drawn = shape_sprite(shape, "red", 200, 17.0, (0.3, -0.2)).alpha().sum() / 100**2
    assert drawn == pytest.approx(AREAS[shape], rel=2e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_distances_within_the_unit_circle(shape: str) -> None:
    axis = np.linspace(-1.3, 1.3, 521, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    distance = SHAPES[shape](x, y)
    assert (distance[np.hypot(x, y) > 1.001] > 0).all()
    assert distance.min() < -0.15
    slopes = np.hypot(*np.gradient(distance.astype(np.float64), 2.6 / 520))
    at_outline = slopes[np.abs(distance) < 0.01]
    assert np.median(at_outline) == pytest.approx(1, abs=0.01)
    assert np.mean(np.abs(at_outline - 1) < 0.1) > 0.9  # all but corners


def test_captions_are_true() -> None:
    pattern = re.compile(r"an? (\w+) (\w+) (left of|right of|above|below|in front of|behind) an? (\w+) (\w+)")
    met = set()
    scenes = SceneSet(SceneOptions(size=64, objects=(2, 6)))
    for index in range(150):
        found = scene(scenes, "train", index)
        where = {
            (each.thing.colour, scenes.class_names[each.thing.label]): (
                extent(found.instances, number),
                each.thing.depth,
            )
            for number, each in enumerate(found.objects, start=1)
        }
        assert len(where) == len(found.objects)  # no two things are alike
        texts = captions(scenes, "train", index)
        assert len(texts) == len(found.objects) - 1
        for text in texts:
            parsed = pattern.fullmatch(text)
            assert parsed, text
            first, words, second = parsed.group(1, 2), parsed[3], parsed.group(4, 5)
            (a, near), (b, far) = where[first], where[second]
            right, down = (a[0] + a[2] - b[0] - b[2]) / 128, (a[1] + a[3] - b[1] - b[3]) / 128
            true = {
                "left of": -right >= max(0.1, abs(down)),
                "right of": right >= max(0.1, abs(down)),
                "above": -down >= max(0.1, abs(right)),
                "below": down >= max(0.1, abs(right)),
                "in front of": near < far and max(abs(right), abs(down)) < 0.1,
                "behind": near > far and max(abs(right), abs(down)) < 0.1,
            }
            assert true[words], text
            met.add(words)
    assert len(met) == 6


def test_one_object_has_its_name() -> None:
    scenes = SceneSet(SceneOptions(size=32, objects=(1, 1)))
    for index in range(20):
        (each,) = scene(scenes, "val", index).objects
        article = "an" if each.thing.colour == "orange" else "a"
        assert captions(scenes, "val", index) == (
            f"{article} {each.thing.colour} {scenes.class_names[each.thing.label]}",
        )


def test_numbers_are_of_the_nearest_object() -> None:
    for index in range(5):
        left, top, right, bottom = (value / 96 for value in extent(scene(SCENES, "val", index).instances, 1))
        x, y, size, count = numbers(SCENES, "val", index)
        assert (x, y) == pytest.approx(((left + right) / 2, (top + bottom) / 2))
        assert size == pytest.approx(max(right - left, bottom - top))
        assert count == scene(SCENES, "val", index).instances.max()


@pytest.mark.parametrize(("fraction", "hidden"), [(0.1, 1), (0.25, 2), (0.5, 4)])
def test_unseen_pairs_are_in_test_scenes_only(fraction: float, hidden: int) -> None:
    scenes = SceneSet(SceneOptions(size=32, unseen=fraction))
    met: dict[str, set[tuple[int, str | None]]] = {"train": set(), "val": set(), "test": set()}
    for split, pairs in met.items():
        for index in range(150):
            pairs |= {(each.thing.label, each.thing.colour) for each in scene(scenes, split, index).objects}
    assert not met["test"] & (met["train"] | met["val"])
    assert len(met["test"]) == 12 * hidden
    for part in (0, 1):  # every class and every colour is known from training
        assert {pair[part] for pair in met["train"]} == {pair[part] for pair in met["test"]}


def test_classes_and_colours_come_equally_often() -> None:
    scenes = SceneSet(SceneOptions(size=32, objects=(1, 1)))
    firsts = [scene(scenes, "train", index).objects[0].thing for index in range(960)]
    counts = np.bincount([thing.label for thing in firsts], minlength=12)
    assert ((counts - 80) ** 2 / 80).sum() < 31  # χ² with 11 degrees of freedom: 1 in 1,000 is above
    assert {thing.colour for thing in firsts} == set(COLOURS)
    assert all(before.angle != after.angle for before, after in pairwise(firsts))
