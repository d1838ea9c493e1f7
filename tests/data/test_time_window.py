"""The part of a clip that training shows, by seed, epoch and index; and one augmentation for all frames."""

import pytest
import torch

from vitrail.data.augment import batch_mix, image_transform
from vitrail.data.augment_options import Augment
from vitrail.data.loader import OneView, TrainLoader
from vitrail.data.preprocess import Preprocess
from vitrail.data.time_window import TimeWindow

COUNT, FRAMES = 32, 4


def numbered(index: int) -> torch.Tensor:
    """A clip whose pixels are the numbers of the frames."""
    return torch.arange(COUNT, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)


def loader(seed: int, workers: int = 0) -> TrainLoader:
    preprocess = Preprocess(image_size=(8, 8), mean=(0.0,), std=(1.0,), channels=1, frames=FRAMES)
    view = OneView(image_transform(Augment(crop="none"), preprocess))
    return TrainLoader(numbered, 6, None, view, preprocess, batch_size=3, seed=seed, workers=workers)


def shown(seed: int, workers: int = 0, first: int = 0) -> dict[tuple[int, ...], list[float]]:
    """(epoch, index) -> frames, of three epochs."""
    found = {}
    for _, batch in zip(range(first, 6), loader(seed, workers).batches(first), strict=False):
        assert batch.pixels.shape == (3, 1, FRAMES, 8, 8)
        for key, clip in zip(batch.keys, batch.pixels, strict=True):
            found[key] = clip[0, :, 0, 0].tolist()
    return found


def test_windows_follow_from_seed_epoch_and_index():
    once = shown(0)
    assert len(once) == 18
    assert once == shown(0)
    later = shown(0, first=3)  # as after a resume
    assert later == {key: once[key] for key in later}
    assert shown(0, workers=2) == once
    other = shown(1)
    assert other != once
    assert len({tuple(frames) for frames in once.values()}) > 12


def test_windows_have_half_of_the_time_or_more_and_equal_steps():
    spans = []
    for seed in range(200):
        torch.manual_seed(seed)
        frames = TimeWindow(FRAMES)(numbered(0))[:, 0, 0, 0]
        steps = frames.diff()
        assert frames[0] >= 0
        assert frames[-1] < COUNT
        assert steps.max() - steps.min() <= 1
        spans.append(steps.mean().item() * FRAMES / COUNT)
    assert 0.45 < min(spans) < 0.6
    assert 0.9 < max(spans) <= 1.05


@pytest.mark.parametrize("count", [1, 3, 4])
def test_short_clips_are_shown_as_a_whole(count: int):
    clip = numbered(0)[:count]
    frames = TimeWindow(FRAMES)(clip)[:, 0, 0, 0].tolist()
    assert frames == {1: [0, 0, 0, 0], 3: [0, 1, 1, 2], 4: [0, 1, 2, 3]}[count]


EVERY_STEP = (
    Augment(crop="resized", flip=0.5, color_jitter=0.4, hue=0.1, grayscale=0.3, blur=0.5, solarize=0.3, erasing=0.5),
    Augment(crop="simple", three_augment=True, erasing=0.9, erasing_mode="pixel"),
    Augment(crop="shift", randaugment="rand-m9-mstd0.5-inc1"),
    Augment(crop="none", randaugment=2),
)


@pytest.mark.parametrize("augment", EVERY_STEP)
@pytest.mark.parametrize("values", ["uint8", "float32"])
def test_all_frames_are_augmented_as_one_image_is(augment: Augment, values: str):
    image = torch.randint(0, 256, (3, 24, 24), dtype=torch.uint8)
    image = image if values == "uint8" else image / 255
    clips = Preprocess(image_size=(24, 24), crop=1.0, frames=FRAMES)
    alone = image_transform(augment, Preprocess(image_size=(24, 24), crop=1.0))
    together = image_transform(augment, clips)
    for seed in range(20):
        torch.manual_seed(seed)
        expected = alone(image)
        torch.manual_seed(seed)
        found = together(image.expand(FRAMES, -1, -1, -1))
        assert found.shape == (FRAMES, 3, 24, 24)
        for frame in found:
            assert torch.equal(frame, expected) or torch.allclose(frame.float(), expected.float(), atol=1e-5)


def test_mixing_takes_the_same_place_in_all_frames():
    pixels = torch.stack([torch.zeros(3, FRAMES, 8, 8), torch.ones(3, FRAMES, 8, 8)])
    targets = torch.eye(2)
    for mixup, cutmix in ((1.0, 0.0), (0.0, 1.0)):
        mix = batch_mix(mixup, cutmix, 1.0, 2)
        assert mix is not None
        mixed, labels = mix(pixels, targets)
        assert mixed.shape == pixels.shape
        assert torch.equal(mixed, mixed[:, :1, :1].expand_as(mixed))
        torch.testing.assert_close(mixed[0].mean(), labels[0, 1], atol=1e-5, rtol=0)
