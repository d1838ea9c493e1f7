"""Video files through PyAV: every frame to the pixel, rotation, and damage."""

import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from clip_files import left_edges, moving_square, write_video

from vitrail.data.clips import decode_clip, inspect_clip
from vitrail.data.decode import BadImage
from vitrail.data.samples import FileAt, Sample, Source
from vitrail.data.survey import survey

CLIP = moving_square(9)


def test_a_video_without_loss_has_the_pixels_that_were_written(tmp_path: Path):
    data = write_video(tmp_path / "a.mkv", CLIP).read_bytes()
    assert torch.equal(decode_clip(data), torch.from_numpy(CLIP).permute(0, 3, 1, 2))
    length, first = inspect_clip(data, name="x", strict=True)
    assert (length, first.shape, first.dtype) == (9, (3, 32, 32), torch.uint8)


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "mpeg4"), (".avi", "mpeg4"), (".mpg", "mpeg1video")])
def test_usual_formats_and_evenly_spaced_frames(tmp_path: Path, suffix: str, codec: str):
    large = np.repeat(np.repeat(CLIP, 4, axis=1), 4, axis=2)  # compression blurs edges
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 128, 128, "yuv420p", 4_000_000
        for frame in large:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    found = decode_clip(path.read_bytes(), frames=3)
    expected = [4 * (1 + 3 * number) for number in (1, 4, 7)]
    assert found.shape == (3, 3, 128, 128)
    assert all(abs(left - right) <= 2 for left, right in zip(left_edges(found.numpy()), expected, strict=True))


def test_sound_alone_and_other_files_are_no_videos(tmp_path: Path):
    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(BadImage, match="a file without a video"):
        decode_clip(path.read_bytes(), name="x")
    with pytest.raises(BadImage, match="x: not a video, or damaged in its first bytes"):
        decode_clip(b"hello", name="x")


def test_a_damaged_video_is_a_bad_file_unless_damage_is_taken(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 255, (12, 32, 32, 3), np.uint8)
    path = write_video(tmp_path / "a.avi", noise, "mpeg4")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(data)
    sample = Sample("a.avi", (), None, FileAt(str(path)), clip=True)
    found = survey(Source("x", (), (sample,)), cache=tmp_path)
    assert [file.name for file in found.bad] == ["a.avi"]
    assert decode_clip(bytes(data), strict=False, frames=4).shape == (4, 3, 32, 32)


def test_a_video_that_ends_early(tmp_path: Path):
    data = write_video(tmp_path / "a.mkv", CLIP).read_bytes()
    cut = data[: len(data) * 2 // 3]
    try:
        length, _ = inspect_clip(cut, name="x", strict=True)  # a container of blocks may be whole where it ends
    except BadImage:
        return
    assert length < len(CLIP)


def test_the_library_is_named_if_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    data = write_video(tmp_path / "a.mkv", CLIP).read_bytes()
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(BadImage, match=r'pip install "vitrail\[video\]"'):
        decode_clip(data)


def test_survey_remembers_the_frames(tmp_path: Path):
    path = write_video(tmp_path / "a.mkv", CLIP)
    source = Source("x", (), (Sample("a", (), None, FileAt(str(path)), clip=True),))
    first, second = (survey(source, cache=tmp_path / "cache") for _ in range(2))
    assert first.facts == second.facts
    assert (first.facts[0].frames, first.facts[0].channels, first.facts[0].height) == (9, 3, 32)
