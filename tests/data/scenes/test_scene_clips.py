"""How the object of a clip moves, from its pixels; and that one frame does not show it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitrail.data.scenes import SceneOptions, SceneSet, clip, motion_class, motion_names, scene_set

RIGHT_AND_DOWN = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}
SIDE = 48


@pytest.fixture(scope="module")
def cutouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cut-outs in a colour that backgrounds do not have."""
    folder = tmp_path_factory.mktemp("cutouts")
    for name, size in (("wide", (40, 30)), ("tall", (30, 40))):
        Image.new("RGBA", size, (255, 0, 255, 255)).save(folder / f"{name}.png")
    return folder


def centres(frames: np.ndarray) -> np.ndarray:
    """Centre (x, y) of the object in each frame (T, 2), as fractions of a turn around the image."""
    found = []
    for frame in frames.astype(int):
        mask = (frame[..., 0] > 190) & (frame[..., 1] < 70) & (frame[..., 2] > 190)
        assert mask.any()
        angles = [2 * np.pi * (places + 0.5) / SIDE for places in np.nonzero(mask)[::-1]]
        found.append([np.angle(np.exp(1j * angle).mean()) / (2 * np.pi) for angle in angles])
    return np.array(found)


def moves(frames: np.ndarray) -> np.ndarray:
    """Moves (T − 1, 2) from frame to frame, as fractions of the side."""
    steps = np.diff(centres(frames), axis=0)
    return (steps + 0.5) % 1 - 0.5


def test_objects_move_as_their_class_says(cutouts: Path) -> None:
    scenes = scene_set(SceneOptions(size=SIDE, cutouts=str(cutouts), frames=9))
    assert len(motion_names(scenes)) == 12
    met = set()
    for index in range(24):
        name = motion_names(scenes)[motion_class(scenes, "train", index)]
        path, _, direction = name.rpartition(" ")
        steps = moves(clip(scenes, "train", index))
        forward = steps @ RIGHT_AND_DOWN[direction]
        aside = np.cumsum(steps @ np.flip(RIGHT_AND_DOWN[direction]))
        if path == "there and back":
            assert forward[:4].sum() > 0.22
            assert abs(forward.sum()) < 0.04
        else:
            assert 0.4 < forward.sum() < 0.65
            assert (forward > 0.02).all()
        if path == "zigzag":
            assert 0.1 < np.ptp(aside) < 0.25
            assert abs(aside[3]) < 0.04  # half of the way: back from one side
        else:
            assert np.abs(aside).max() < 0.04
        met.add(name)
    assert met == set(motion_names(scenes))


def test_eight_directions(cutouts: Path) -> None:
    scenes = scene_set(SceneOptions(size=SIDE, cutouts=str(cutouts), motions="straight"))
    assert len(motion_names(scenes)) == 8
    for index in range(16):
        direction = motion_names(scenes)[motion_class(scenes, "val", index)].removeprefix("straight ")
        expected = np.sum([RIGHT_AND_DOWN[part] for part in direction.split("-")], axis=0)
        total = moves(clip(scenes, "val", index)).sum(axis=0)
        assert 0.4 < np.hypot(*total) < 0.65
        assert total / np.hypot(*total) == pytest.approx(expected / np.hypot(*expected), abs=0.12)


def test_the_first_frame_does_not_depend_on_the_class() -> None:
    scenes = SceneSet(SceneOptions(size=32))
    for index in range(4):
        frames = [clip(scenes, "train", index, motion) for motion in range(12)]
        assert len({each[0].tobytes() for each in frames}) == 1
        assert len({each.tobytes() for each in frames}) == 12
        assert (clip(scenes, "train", index) == frames[motion_class(scenes, "train", index)]).all()


def nearest_mean(features: np.ndarray, classes: np.ndarray) -> float:
    """Accuracy on the second half of the nearest of the means of the classes in the first half."""
    half = len(classes) // 2
    means = np.stack([features[:half][classes[:half] == each].mean(axis=0) for each in range(classes.max() + 1)])
    guessed = ((features[half:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    return float((guessed == classes[half:]).mean())


def test_one_frame_is_at_chance_and_two_are_not(cutouts: Path) -> None:
    scenes = scene_set(SceneOptions(size=SIDE, cutouts=str(cutouts), motions="straight", frames=4))
    count = 480
    places = np.stack([centres(clip(scenes, "train", index)) for index in range(count)])
    classes = np.array([motion_class(scenes, "train", index) for index in range(count)])
    assert np.bincount(classes).tolist() == [60] * 8
    limit = 1 / 8 + 4 * np.sqrt(1 / 8 * 7 / 8 / (count / 2))
    for frame in range(4):
        around = 2 * np.pi * places[:, frame]
        single = np.concatenate([np.cos(around), np.sin(around)], axis=1)
        assert nearest_mean(single, classes) < limit
        # χ² of 8 × 8 cells with 63 degrees of freedom: 1 in 1,000 is above 103
        cells = np.histogram2d(*(places[:, frame].T % 1), bins=8, range=((0, 1), (0, 1)))[0]
        assert ((cells - count / 64) ** 2 / (count / 64)).sum() < 103
    assert nearest_mean((places[:, 1] - places[:, 0] + 0.5) % 1, classes) > 0.99


def test_clips_repeat_and_differ() -> None:
    scenes = SceneSet(SceneOptions(size=32, frames=5))
    frames = clip(scenes, "test", 3)
    assert (frames.shape, frames.dtype) == ((5, 32, 32, 3), np.uint8)
    assert (clip(scenes, "test", 3) == frames).all()
    assert (clip(scenes, "test", 4) != frames).any()
    assert (clip(SceneSet(SceneOptions(size=32, frames=5, seed=1)), "test", 3) != frames).any()
