"""Folders, tables and patterns of clips, and everything that can be wrong with them."""

from pathlib import Path

import numpy as np
import pytest
from clip_files import moving_square, write_animation, write_array, write_frames
from drawn import draw
from PIL import Image

from vitrail.data.frame_folder import FramesAt
from vitrail.data.open import open_source, source_from_images
from vitrail.data.survey import survey
from vitrail.errors import VitrailError
from vitrail.task_spec import CLASSIFICATION, VIDEO, TaskSpec

CLIP = moving_square()


def make_clips(root: Path, prefix: str = "") -> Path:
    """Two classes, each with a clip of every kind."""
    for label in ("left", "right"):
        folder = root / prefix / label
        write_frames(folder / "walk", CLIP)
        write_animation(folder / "run.gif", CLIP)
        write_animation(folder / "deep" / "jump.webp", CLIP)
        write_array(folder / "fly.npy", CLIP)
    return root


def test_class_folders(tmp_path: Path):
    source = open_source(make_clips(tmp_path), task=VIDEO)
    assert source.class_names == ("left", "right")
    assert (source.task, source.label_kind, source.bad) == (VIDEO, "classes", ())
    names = ["left/fly.npy", "left/run.gif", "left/deep/jump.webp", "left/walk"]
    assert sorted(sample.name for sample in source.samples if sample.labels == (0,)) == sorted(names)
    assert all(sample.clip for sample in source.samples)
    assert source.notes == ("clips in 2 folders of frames and 6 files",)
    found = survey(source, cache=tmp_path / "cache")
    assert [facts.frames for facts in found.facts] == [8] * 8
    assert survey(source, cache=tmp_path / "cache").facts == found.facts


def test_splits_above_the_classes(tmp_path: Path):
    for split in ("train", "val"):
        make_clips(tmp_path, split)
    source = open_source(tmp_path, task=VIDEO)
    assert source.class_names == ("left", "right")
    assert {(sample.name.split("/")[0], sample.split) for sample in source.samples} == {
        ("train", "train"),
        ("val", "val"),
    }


def test_a_folder_with_videos_alone_is_one_of_clips(tmp_path: Path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "x.mp4").write_bytes(b"later")
        (tmp_path / label / "notes.txt").write_text("")
    source = open_source(tmp_path)
    assert source.task == VIDEO
    assert source.notes == ("task video: clips in 2 files",)
    assert [sample.name for sample in open_source(tmp_path, labelled=False).samples] == [
        str(tmp_path / "a/x.mp4"),
        str(tmp_path / "b/x.mp4"),
    ]
    draw(tmp_path / "a/still.png", 8, 8, (0, 0, 1, 1))
    draw(tmp_path / "b/still.png", 8, 8, (0, 0, 1, 1))
    assert open_source(tmp_path).task == CLASSIFICATION


def test_without_labels_at_any_depth(tmp_path: Path):
    make_clips(tmp_path / "set")
    source = open_source(tmp_path / "set", labelled=False, task=VIDEO)
    assert len(source.samples) == 8
    assert all(sample.clip and not sample.labels for sample in source.samples)
    one = open_source(tmp_path / "set/left/walk", labelled=False, task=VIDEO)
    assert [sample.name for sample in one.samples] == [str(tmp_path / "set/left/walk")]
    assert isinstance(one.samples[0].location, FramesAt)
    file = open_source(tmp_path / "set/left/run.gif", labelled=False, prefer=VIDEO)
    assert [sample.clip for sample in file.samples] == [True]
    pattern = open_source(f"{tmp_path}/set/*/*", labelled=False, prefer=VIDEO)
    assert len(pattern.samples) == 8
    assert not any(sample.clip for sample in open_source(tmp_path / "set", labelled=False).samples)


def test_every_bad_clip_is_named(tmp_path: Path):
    make_clips(tmp_path)
    (tmp_path / "left/walk/frame_0003.png").unlink()
    (tmp_path / "left/walk/frame_0004.png").unlink()
    write_frames(tmp_path / "left/short", CLIP[:1])
    Image.fromarray(CLIP[0]).save(tmp_path / "left/still.gif")
    (tmp_path / "right/broken.mp4").write_bytes(b"no video")
    Image.fromarray(CLIP[0]).save(tmp_path / "right/beside.png")
    write_array(tmp_path / "astray.npy", CLIP)
    found = survey(open_source(tmp_path, task=VIDEO), cache=tmp_path / "cache")
    reasons = {file.name: file.reason for file in found.bad}
    assert reasons.pop("left/walk").startswith("frame_0003.png and 1 more are missing: ")
    assert reasons.pop("left/short") == "a single image, but a clip of several frames is needed"
    assert reasons.pop("left/still.gif") == "a single image, but a clip of several frames is needed"
    assert reasons.pop("right").startswith("1 image that belongs to no clip: give root/class/clip.mp4, or ")
    assert reasons.pop("astray.npy").startswith("no label: it is in no class folder")
    assert list(reasons) == ["right/broken.mp4"]
    assert len(found.facts) == 7


def test_photographs_are_no_clips(tmp_path: Path):
    for label in ("a", "b"):
        for number in (1, 2):
            draw(tmp_path / label / f"{number}.png", 8, 8, (0, 0, 1, 1))
    with pytest.raises(VitrailError, match=r"none of the 2 clips of .* a: 2 images that belong to no clip"):
        open_source(tmp_path, task=VIDEO)
    (tmp_path / "empty").mkdir()
    with pytest.raises(VitrailError, match=r"no clips in .*empty: give root/class/clip\.mp4"):
        open_source(tmp_path / "empty", task=VIDEO)


def test_a_table_of_files_and_folders(tmp_path: Path):
    make_clips(tmp_path)
    rows = ["path,label", "left/walk,a", "right/run.gif,b", "right/fly.npy,a", "gone,b"]
    (tmp_path / "clips.csv").write_text("\n".join(rows))
    source = open_source(tmp_path / "clips.csv", task=VIDEO)
    assert [(sample.name, sample.labels, sample.clip) for sample in source.samples] == [
        ("left/walk", (0,), True),
        ("right/run.gif", (1,), True),
        ("right/fly.npy", (0,), True),
    ]
    assert isinstance(source.samples[0].location, FramesAt)
    assert [(file.name, file.reason) for file in source.bad] == [("gone", "no such file (line 5)")]
    images = open_source(tmp_path / "clips.csv")
    assert [file.name for file in images.bad] == ["left/walk", "gone"]
    assert not any(sample.clip for sample in images.samples)


def test_clips_in_memory(tmp_path: Path):
    source = source_from_images([CLIP, CLIP[::-1].copy()], ["right", "left"])
    found = survey(open_source(source, task=VIDEO), cache=tmp_path)
    assert [facts.frames for facts in found.facts] == [8, 8]
    with pytest.raises(VitrailError, match="needs one class for each clip"):
        open_source(source_from_images([CLIP, CLIP], [1.5, 2.5]), task=VIDEO)


def test_scenes_have_clips_for_the_task_alone():
    assert all(sample.clip for sample in open_source("scenes:train=2,val=0,test=0", task=VIDEO).samples)
    assert all(
        sample.clip for sample in open_source("scenes:train=2,val=0,test=0", labelled=False, prefer=VIDEO).samples
    )
    assert not any(sample.clip for sample in open_source("scenes:train=2,val=0,test=0").samples)
    detection = open_source("scenes:train=2,val=0,test=0", task=TaskSpec("detection"))
    with pytest.raises(VitrailError, match="--task video needs one class for each clip"):
        open_source(detection, task=VIDEO)


def test_duplicates_are_found_by_content(tmp_path: Path):
    write_frames(tmp_path / "a/one", CLIP)
    write_frames(tmp_path / "b/two", CLIP)
    write_frames(tmp_path / "b/other", np.flip(CLIP, 2))
    found = survey(open_source(tmp_path, task=VIDEO), cache=tmp_path / "cache")
    assert found.duplicates == 1
    assert "the same image with different labels: a/one (a) = b/two (b)" in found.warnings
