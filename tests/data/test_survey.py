"""Every bad file is named, everything good is measured, and what has not changed is not opened again."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vitrail.data import survey as survey_module
from vitrail.data.bad_files import write_bad_files
from vitrail.data.open import open_source
from vitrail.data.samples import BadFile, Sample
from vitrail.data.survey import Facts, Limit, Survey, survey
from vitrail.errors import VitrailError


def picture(path: Path, seed: int, size: tuple[int, ...] = (6, 5, 3)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path)
    return path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the samples that the survey really opens."""
    names: list[str] = []
    inspect = survey_module._inspect

    def counted(sample: Sample) -> Facts | BadFile:
        names.append(sample.name)
        return inspect(sample)

    monkeypatch.setattr(survey_module, "_inspect", counted)
    return names


def look(tmp_path: Path, folder: str = "data") -> Survey:
    return survey(open_source(tmp_path / folder), cache=tmp_path / "cache")


def test_two_hundred_broken_files_among_two_thousand(tmp_path: Path):
    whole = {suffix: picture(tmp_path / f"whole{suffix}", 0).read_bytes() for suffix in (".jpg", ".png", ".webp")}
    breaks = {
        "empty file": lambda data: b"",
        "truncated": lambda data: data[: len(data) // 2],
        "not an image": lambda data: b"<html>404 Not Found</html>",
        "not an image, or damaged in its first bytes": lambda data: b"\0" * 64 + data[64:],
    }
    broken: dict[str, str] = {}
    for i in range(2000):
        suffix = list(whole)[i % 3]
        name = f"{'cat' if i % 2 else 'a dog é'}/{i:04}{suffix}"
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if i % 10 == 7:
            reason = list(breaks)[i // 10 % 4]
            broken[name] = reason
            path.write_bytes(breaks[reason](whole[suffix]))
        else:
            path.write_bytes(whole[suffix])
    found = look(tmp_path)
    assert {bad.name for bad in found.bad} == set(broken)
    assert len(found.bad) == 200
    assert len(found.source.samples) == len(found.facts) == 1800
    for bad in found.bad:
        assert broken[bad.name] in bad.reason or (broken[bad.name] == "truncated" and bad.reason), bad
    with pytest.raises(VitrailError, match=r"(?s)200 bad files in .*and 190 more; in all: .*--skip-bad") as caught:
        found.require_clean(skip_bad=False)
    assert f"{found.bad[0].name}: {found.bad[0].reason}" in str(caught.value)
    found.require_clean(skip_bad=True)
    write_bad_files(tmp_path / "bad_files.csv", found.bad)
    again = open_source(table_of_bad(tmp_path), labelled=False)
    assert len(again.samples) == 200


def table_of_bad(tmp_path: Path) -> Path:
    """The written table, moved beside the images: it is itself a CSV of paths."""
    return (tmp_path / "bad_files.csv").rename(tmp_path / "data/bad_files.csv")


def test_the_second_survey_opens_nothing(tmp_path: Path, opened: list[str]):
    for i in range(4):
        picture(tmp_path / f"data/{'ab'[i % 2]}/{i}.png", i)
    first = look(tmp_path)
    assert len(opened) == 4
    opened.clear()
    assert look(tmp_path) == first
    assert opened == []


def test_a_changed_file_is_opened_again_and_a_bad_one_always(tmp_path: Path, opened: list[str]):
    for i in range(4):
        picture(tmp_path / f"data/{'ab'[i % 2]}/{i}.png", i)
    (tmp_path / "data/a/broken.png").write_bytes(b"")
    before = look(tmp_path)
    opened.clear()
    facts = os.stat(tmp_path / "data/a/0.png")
    os.utime(tmp_path / "data/a/0.png", ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    assert look(tmp_path) == before
    assert opened == ["a/0.png", "a/broken.png"]


@pytest.mark.parametrize("damage", [b"this is no data base", b""])
def test_a_damaged_cache_is_begun_anew(tmp_path: Path, opened: list[str], damage: bytes):
    picture(tmp_path / "data/a/0.png", 0)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/survey.sqlite").write_bytes(damage * 100)
    first = look(tmp_path)
    opened.clear()
    assert look(tmp_path) == first
    assert opened == []


def test_no_cache_can_be_written(tmp_path: Path):
    picture(tmp_path / "data/a/0.png", 0)
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert len(look(tmp_path).facts) == 1


def test_a_survey_that_is_stopped_keeps_what_it_found(tmp_path: Path, opened: list[str]):
    for i in range(100):
        picture(tmp_path / f"data/a/{i}.png", i)

    def stop_half_way(items, total, label):  # type: ignore[no-untyped-def]
        for done, item in enumerate(items):
            if done == 50:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt):
        survey(open_source(tmp_path / "data"), cache=tmp_path / "cache", progress=stop_half_way)
    opened.clear()
    look(tmp_path)
    assert len(opened) == 50


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = picture(tmp_path / "data/a/0.png", 0)
    picture(tmp_path / "data/a/1.png", 1)
    import builtins

    plain = builtins.open

    def refuse(name: object, *args: object, **options: object) -> object:
        if str(name) == str(path):
            raise PermissionError(13, "Permission denied")
        return plain(name, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(builtins, "open", refuse)
    assert look(tmp_path).bad == (BadFile("a/0.png", "Permission denied"),)


def test_what_planning_needs(tmp_path: Path):
    for i, size in enumerate([(4, 9, 3), (6, 7, 3), (8, 8, 3)]):
        picture(tmp_path / f"data/{'aab'[i]}/{i}.png", i, size)
    found = look(tmp_path)
    assert found.median_size == (6, 8)
    assert found.channels == 3
    assert found.class_counts == (2, 1)
    assert found.warnings == ("only one image of b: it is trained on, but never checked",)


@pytest.mark.parametrize(
    ("sizes", "suffix", "expected"),
    [
        ([(5, 5), (6, 6)], ".png", 1),
        ([(5, 5), (6, 6, 3)], ".png", 3),
        ([(6, 6, 4), (6, 6, 3)], ".png", 3),
        ([(9, 9, 5), (5, 8, 8)], ".npy", 5),
    ],
)
def test_channels_to_train_with(tmp_path: Path, sizes: list[tuple[int, ...]], suffix: str, expected: int):
    for i, size in enumerate(sizes):
        picture(tmp_path / f"data/a/{i}{suffix}", i, size)
    assert look(tmp_path).channels == expected


def test_channels_that_disagree(tmp_path: Path):
    picture(tmp_path / "data/a/five.npy", 0, (5, 8, 8))
    picture(tmp_path / "data/a/four.npy", 0, (4, 8, 8))
    picture(tmp_path / "data/b/rgb.png", 0)
    message = r"differ in channels: 1 with 3 \(such as b/rgb.png\), 1 with 4 \(such as a/four.npy\), 1 with 5"
    with pytest.raises(VitrailError, match=message):
        _ = look(tmp_path).channels


def test_duplicates_and_conflicts(tmp_path: Path):
    for name, seed in [("cat/1", 1), ("cat/2", 1), ("cat/3", 2), ("dog/1", 3), ("dog/2", 2)]:
        picture(tmp_path / f"data/{name}.png", seed)
    found = look(tmp_path)
    assert found.duplicates == 2
    assert [[s.name for s in group] for group in found.conflicts] == [["cat/3.png", "dog/2.png"]]
    assert found.warnings == ("the same image with different labels: cat/3.png (cat) = dog/2.png (dog)",)


def test_nothing_good_at_all(tmp_path: Path):
    (tmp_path / "data/a").mkdir(parents=True)
    (tmp_path / "data/a/0.png").write_bytes(b"")
    found = look(tmp_path)
    for skip_bad in (False, True):
        with pytest.raises(VitrailError, match="no image of the source is good"):
            found.require_clean(skip_bad=skip_bad)
    with pytest.raises(VitrailError, match="has no good image"):
        _ = found.channels


def test_labels_that_are_missing_count_as_bad(tmp_path: Path):
    picture(tmp_path / "data/a/0.png", 0)
    picture(tmp_path / "data/loose.png", 1)
    found = look(tmp_path)
    assert Counter(bad.reason for bad in found.bad) == {"no label: it is in no class folder": 1}


def test_progress_hears_of_each_file(tmp_path: Path):
    picture(tmp_path / "data/a/0.png", 0)
    heard: list[tuple[int, str]] = []

    def listen(items, total, label):  # type: ignore[no-untyped-def]
        heard.append((total, label))
        return items

    survey(open_source(tmp_path / "data"), cache=tmp_path / "cache", progress=listen)
    assert heard == [(1, "survey")]


def test_damage_that_decoders_pass_over_is_bad_unless_the_source_is_not_strict(tmp_path: Path) -> None:
    for name in ("a", "b"):
        file = picture(tmp_path / name / "0.jpg", 0, (64, 64, 3))
    data = file.read_bytes()
    middle = (data.index(b"\xff\xda") + len(data)) // 2
    file.write_bytes(data[:middle] + bytes(200) + data[-2:])
    for _ in range(2):  # the second time from the cache, which knows both answers
        assert [bad.name for bad in survey(open_source(tmp_path), cache=tmp_path / "cache").bad] == ["b/0.jpg"]
        lenient = survey(open_source(tmp_path, strict=False), cache=tmp_path / "cache")
        assert not lenient.bad
        assert [facts.value_bytes for facts in lenient.facts] == [1, 1]


def test_a_limited_survey_reads_a_random_sample_with_some_of_each_class(tmp_path, monkeypatch):
    for name, count in (("many", 60), ("few", 3)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(count):
            Image.new("L", (4, 4), index).save(tmp_path / "images" / name / f"{index}.png")
    monkeypatch.setattr("vitrail.data.survey._FEWEST", 5)
    monkeypatch.setattr("vitrail.data.survey._OF_EACH_CLASS", 4)
    source = open_source(tmp_path / "images")
    found = survey(source, limit=Limit(seed=0, seconds=0.0), cache=tmp_path / "cache")
    assert (found.read, found.total) == (5, 63)
    assert any("5 of 63 images are used, drawn at random" in line for line in found.warnings)
    again = survey(source, limit=Limit(seed=0, images=5), cache=tmp_path / "other cache")
    assert again.source.samples == found.source.samples
    seven = survey(source, limit=Limit(seed=0, images=7), cache=tmp_path / "cache")
    assert set(found.source.samples) < set(seven.source.samples)
    assert seven.class_counts == (3, 4), "a few of each class come first"
    whole = survey(source, limit=Limit(seed=0, seconds=1000.0), cache=tmp_path / "cache")
    assert (whole.read, whole.total) == (63, None)
    assert whole.source.samples == survey(source, cache=tmp_path / "cache").source.samples
