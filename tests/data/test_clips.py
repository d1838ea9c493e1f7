"""Clips of every kind of file to the pixel, and files that are none."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_files import left_edges, moving_square, write_animation, write_array, write_frames
from PIL import Image

from vitrail.data.clip_source import clip_at
from vitrail.data.clips import decode_clip, decode_clip_sized, inspect_clip
from vitrail.data.decode import BadImage
from vitrail.data.frame_folder import FramesAt, missing_frames
from vitrail.data.open import Sample, read_image
from vitrail.data.preprocess import Preprocess
from vitrail.data.samples import FileAt
from vitrail.data.spaced import spaced
from vitrail.errors import VitrailError

CLIP = moving_square()
EXPECTED = torch.from_numpy(CLIP).permute(0, 3, 1, 2)


def saved(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array)


def frames_of(folder: Path) -> FramesAt:
    return FramesAt(str(folder), tuple(sorted(path.name for path in folder.iterdir())))


@pytest.mark.parametrize("channel_axis", [1, 3])
def test_an_array(tmp_path: Path, channel_axis: int):
    path = write_array(tmp_path / "a.npy", np.moveaxis(CLIP, 3, channel_axis))
    assert torch.equal(decode_clip(path.read_bytes()), EXPECTED)


def test_an_array_of_other_values():
    for given, expected in (
        (np.full((2, 1, 4, 6), 65535, np.uint16), torch.ones(2, 1, 4, 6)),
        (np.full((2, 8, 6, 5), -1.5), torch.full((2, 5, 8, 6), -1.5)),
    ):
        sink = BytesIO()
        np.save(sink, given)
        assert torch.equal(decode_clip(sink.getvalue()), expected)


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_an_animation(tmp_path: Path, suffix: str):
    found = decode_clip(write_animation(tmp_path / f"a{suffix}", CLIP).read_bytes())
    assert torch.equal(found, EXPECTED)


def test_a_folder_of_frames_in_natural_order(tmp_path: Path):
    for number, frame in enumerate(moving_square(12, step=2)):
        Image.fromarray(frame).save(tmp_path / f"{number}.png")
    at = clip_at(str(tmp_path))
    assert at.names[-2:] == ("10.png", "11.png")
    found = read_image(Sample("a", (), None, at, clip=True))
    assert left_edges(found.numpy()) == [1 + 2 * number for number in range(12)]


@pytest.mark.parametrize("kind", ["folder", "array", "animation"])
def test_a_few_evenly_spaced_frames(tmp_path: Path, kind: str):
    clip = moving_square(8)
    if kind == "folder":
        location = frames_of(write_frames(tmp_path / "a", clip))
    else:
        write = write_array if kind == "array" else write_animation
        location = FileAt(str(write(tmp_path / ("a.npy" if kind == "array" else "a.gif"), clip)))
    sample = Sample("a", (), None, location, clip=True)
    found = read_image(sample, 3, frames=4)
    assert left_edges(found.numpy()) == [1 + 3 * number for number in (1, 3, 5, 7)]
    assert read_image(sample, 1, frames=100).shape == (8, 1, 32, 32)
    assert read_image(sample, 3, least=16).shape == (8, 3, 16, 16)


def test_only_the_frames_that_are_needed_are_opened(tmp_path: Path):
    location = frames_of(write_frames(tmp_path / "a", CLIP))
    for number in (0, 2, 4, 6):
        (tmp_path / f"a/frame_000{number}.png").write_bytes(b"gone")
    found = read_image(Sample("a", (), None, location, clip=True), 3, frames=4)
    assert left_edges(found.numpy()) == [4, 10, 16, 22]


def test_frames_in_the_middle_of_equal_parts():
    assert spaced(8, 8) == list(range(8))
    assert spaced(100, 4) == [12, 37, 62, 87]
    assert spaced(3, 6) == [0, 0, 1, 1, 2, 2]
    assert spaced(10, 5, 0.5, 1.0) == [5, 6, 7, 8, 9]
    assert spaced(1, 3) == [0, 0, 0]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: Image.fromarray(CLIP[0]).save(path, "PNG"), "a single image"),
        (lambda path: Image.fromarray(CLIP[0]).save(path, "GIF"), "a single image"),
        (lambda path: saved(path, CLIP[:1]), "a single image"),
        (lambda path: saved(path, CLIP[0]), r"shape \(32, 32, 3\): a single image, but a clip"),
        (lambda path: saved(path, CLIP[:, :0]), "no pixels"),
        (lambda path: path.write_bytes(b""), "empty file"),
        (lambda path: saved(path, np.full((2, 4, 4, 3), np.nan)), "not finite"),
    ],
)
def test_what_is_no_clip(tmp_path: Path, make, reason: str):
    path = tmp_path / "a"
    make(path)
    for read in (decode_clip, inspect_clip):
        with pytest.raises(BadImage, match=f"^x: .*{reason}"):
            read(path.read_bytes(), name="x", strict=True)


def test_a_truncated_array_and_a_truncated_animation(tmp_path: Path):
    array = write_array(tmp_path / "a.npy", CLIP).read_bytes()
    with pytest.raises(BadImage, match="truncated"):
        inspect_clip(array[:-10], name="x", strict=True)
    noise = np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), np.uint8)
    animation = write_animation(tmp_path / "a.gif", noise).read_bytes()
    with pytest.raises(BadImage):
        inspect_clip(animation[: len(animation) // 2], name="x", strict=True)


def test_a_damaged_frame_is_named(tmp_path: Path):
    folder = write_frames(tmp_path / "a", CLIP)
    damaged = folder / "frame_0003.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    with pytest.raises(BadImage, match=r"^x: frame_0003\.png: "):
        inspect_clip(frames_of(folder).read(), name="x", strict=True)


def test_frames_of_another_size_are_named(tmp_path: Path):
    folder = write_frames(tmp_path / "a", CLIP)
    Image.fromarray(CLIP[0, :20]).save(folder / "frame_0003.png")
    with pytest.raises(BadImage, match="frame 4 is 20×32 with 3 channels, and the first is 32×32 with 3 channels"):
        inspect_clip(frames_of(folder).read(), name="x", strict=True)


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        (range(10), []),
        ([0, 1, 2, 4, 5], [3]),
        ([0, 5, 10, 20, 25], [15]),
        ([3, 7, 8, 20, 31, 33], []),  # no common distance: times, perhaps
        ([1], []),
        ([7, 8, 11, 12], [9, 10]),
    ],
)
def test_frames_that_are_missing(numbers, missing):
    names = [f"img_{number:03d}.jpg" for number in numbers]
    assert missing_frames(names) == [f"img_{number:03d}.jpg" for number in missing]


def test_names_without_one_order_lack_nothing():
    assert missing_frames(["a1.png", "b2.png", "c9.png"]) == []
    assert missing_frames(["start.png", "end.png"]) == []


def test_pixels_of_a_clip_have_the_frames_after_the_channels():
    preprocess = Preprocess(
        image_size=(16, 16), crop=1.0, mean=(0.5, 0.25, 0.1), std=(0.5, 1.0, 2.0), frames=4, interpolation="nearest"
    )
    pixels = preprocess(CLIP)
    assert pixels.shape == (3, 4, 16, 16)
    images = preprocess.denormalise(pixels)
    expected = EXPECTED[[1, 3, 5, 7]][:, :, ::2, ::2] / 255
    assert images.shape == (4, 3, 16, 16)
    torch.testing.assert_close(preprocess.viewable(pixels[None])[0], expected, atol=1e-6, rtol=0)
    batch = preprocess.batch([CLIP, CLIP[:2]])
    assert batch.shape == (2, 3, 4, 16, 16)
    torch.testing.assert_close(batch[1, :, 0], batch[1, :, 1])  # a clip of two frames: each is shown twice
    assert not torch.equal(batch[1, :, 1], batch[1, :, 2])


def test_a_resized_clip_has_the_frames_of_resized_images():
    image = torch.randint(0, 255, (5, 3, 40, 30), dtype=torch.uint8)
    for preprocess in (
        Preprocess(image_size=(16, 24), crop=0.9),
        Preprocess(image_size=(16, 24), crop=0.9, interpolation="bilinear", stretch=True),
    ):
        expected = torch.stack([preprocess.fit(frame) for frame in image])
        assert torch.equal(preprocess.fit_sides(image), expected)


def test_preprocessing_without_frames_is_that_of_before(tmp_path: Path):
    stored = Preprocess().to_dict()
    assert stored.pop("frames") is None
    assert Preprocess.from_dict(stored) == Preprocess()
    with pytest.raises(VitrailError, match="preprocess has 0 frames"):
        Preprocess(frames=0)


def test_clips_in_memory_that_are_none():
    preprocess = Preprocess(frames=4)
    with pytest.raises(BadImage, match=r"a ndarray of shape \(32, 32, 3\), but the model takes clips"):
        preprocess(CLIP[0])
    with pytest.raises(BadImage, match="but the model takes clips"):
        preprocess(Image.fromarray(CLIP[0]))


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_the_size_of_a_turned_animation_is_that_of_its_frames(suffix: str, tmp_path: Path):
    random, exif = np.random.default_rng(0), Image.Exif()
    exif[0x0112] = 6
    first, *rest = (Image.fromarray(random.integers(0, 256, (12, 20, 3), dtype=np.uint8)) for _ in range(3))
    first.save(tmp_path / f"a{suffix}", save_all=True, append_images=rest, exif=exif)
    clip, size = decode_clip_sized((tmp_path / f"a{suffix}").read_bytes(), then=lambda clip: clip)
    assert tuple(clip.shape[-2:]) == size == (20, 12)
