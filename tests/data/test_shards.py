"""Tar shards: links, names beside numbers, braces, compression, and every kind of damage."""

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from clip_files import left_edges, moving_square, write_video
from PIL import Image

from vitrail.data import braces, unpack
from vitrail.data.braces import expand_braces
from vitrail.data.open import Source, open_source, read_image
from vitrail.errors import VitrailError
from vitrail.task_spec import CLASSIFICATION, VIDEO

Members = Sequence[tuple[str, bytes]]


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def tar_of(members: Members, links: Sequence[tuple[str, str, bytes]] = ()) -> bytes:
    """Bytes of an archive; links are (name, target, type of tarfile)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for name, target, kind in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    return file.getvalue()


def pairs(*labels: str) -> list[tuple[str, bytes]]:
    """An image and its .cls for each label, with the keys 0, 1, ..."""
    return [member for i, label in enumerate(labels) for member in ((f"{i}.cls", label.encode()), (f"{i}.png", png(i)))]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VITRAIL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "s.tar"


def opened(place: Path, data: bytes) -> Source:
    place.write_bytes(data)
    return open_source(place)


def labels_of(source: Source) -> dict[str, str]:
    return {sample.name.split("/")[-1]: source.class_names[sample.labels[0]] for sample in source.samples}


def reasons(source: Source) -> list[str]:
    return [bad.reason for bad in source.bad]


# Links


def test_links_are_read_as_their_targets(place: Path):
    links = [
        ("d/2.png", "0.png", tarfile.LNKTYPE),
        ("d/2.cls", "../1.cls", tarfile.SYMTYPE),
        ("3.png", "./d/2.png", tarfile.LNKTYPE),
        ("3.cls", "0.cls", tarfile.LNKTYPE),
    ]
    source = opened(place, tar_of(pairs("cat", "dog"), links))
    assert labels_of(source) == {"0": "cat", "1": "dog", "2": "dog", "3": "cat"}
    assert [int(read_image(sample).max()) for sample in source.samples] == [0, 1, 0, 0]


def test_a_link_out_of_the_archive_is_a_bad_file(place: Path):
    source = opened(place, tar_of(pairs("cat"), [("1.png", "/etc/passwd", tarfile.SYMTYPE)]))
    assert [(bad.name, bad.reason) for bad in source.bad] == [
        ("s.tar/1", "1.png is a link to something that is not in the archive")
    ]


# Names of numbers


def named(kind: str, texts: Sequence[str], labels: str = "0101") -> list[tuple[str, bytes]]:
    more = [(f"{i}.{kind}", text.encode()) for i, text in enumerate(texts)]
    return [*pairs(*labels), *more]


def test_numbers_are_named_by_the_texts_beside_them(place: Path):
    source = opened(place, tar_of(named("txt", ["wren", "owl\n", "wren", "owl"])))
    assert source.class_names == ("wren", "owl")  # in the order of the numbers
    assert labels_of(source) == {"0": "wren", "1": "owl", "2": "wren", "3": "owl"}
    assert "the numbers in .cls are named by .txt: wren, owl" in source.notes


def test_captions_are_no_names(place: Path):
    texts = ["a wren", "an owl at night", "a wren sings", "an owl"]
    assert opened(place, tar_of(named("txt", texts))).class_names == ("0", "1")


@pytest.mark.parametrize("field", ["label", "class_name"])
def test_numbers_are_named_by_json_and_a_contradiction_is_bad(place: Path, field: str):
    texts = [json.dumps({field: name}) for name in ("wren", "owl", "wren", "owl", "wren", "gull")]
    source = opened(place, tar_of(named("json", texts, "010101")))
    assert source.class_names == ("wren", "owl")
    assert [(bad.name, bad.reason) for bad in source.bad] == [
        ("s.tar/5", "label 1 is 'owl' elsewhere, and 'gull' here")
    ]


def test_two_different_labels_are_bad(place: Path):
    source = opened(place, tar_of([*pairs("1", "2"), ("0.json", b'{"label": 1}'), ("1.json", b'{"label": 1}')]))
    assert labels_of(source) == {"0": "1"}
    assert reasons(source) == ["label '2' in .cls, but '1' in .json"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xfe", "its .cls is not one line of UTF-8 text"),
        (b"\0\0", "its .cls is not one line of UTF-8 text"),
        (b"cat\ndog", "its .cls is not one line of UTF-8 text"),
        (b"7" * 5000, "its label has 5,000 letters, the limit is 1,000"),
        (b"7" * 2**21, "its .cls has 2,097,152 bytes, which is no label"),
        (b" \n", "no label"),
    ],
)
def test_what_is_no_label(place: Path, data: bytes, reason: str):
    source = opened(place, tar_of([*pairs("cat"), ("1.png", png(1)), ("1.cls", data)]))
    assert (labels_of(source), reasons(source)) == ({"0": "cat"}, [reason])


def test_what_is_beside_the_images_is_ignored(place: Path):
    more = [("readme.txt", b"hello"), ("index.json", b"{}"), ("__MACOSX/0.png", b"x"), ("@eaDir/0.png", b"x")]
    source = opened(place, tar_of([*more, *pairs("cat")]))
    assert (len(source.samples), source.bad) == (1, ())


def test_an_appended_file_replaces_the_one_before(place: Path):
    source = opened(place, tar_of([*pairs("cat"), ("0.png", png(9)), ("0.jpg", png(5))]))
    assert int(read_image(source.samples[0]).max()) == 9


# Braces and places


def test_braces_name_shards(tmp_path: Path):
    for number in (8, 9, 10):
        (tmp_path / f"s-{number:02}.tar").write_bytes(tar_of(pairs(str(number))))
    source = open_source(f"{tmp_path}/s-{{08..10}}.tar")
    assert [sample.name for sample in source.samples] == ["s-08.tar/0", "s-09.tar/0", "s-10.tar/0"]
    assert len(open_source(f"{tmp_path}/s-{{08,1*}}.tar").samples) == 2
    with pytest.raises(VitrailError, match=r"s-11\.tar of .* does not exist"):
        open_source(f"{tmp_path}/s-{{08..11}}.tar")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{000..002}", ["000", "001", "002"]),
        ("{9..11}", ["9", "10", "11"]),
        ("a{2..0}b", ["a2b", "a1b", "a0b"]),
        ("{a,b}-{0..1}", ["a-0", "a-1", "b-0", "b-1"]),
        ("{a{1..2},b}", ["a1", "a2", "b"]),
        ("{plain}{}", ["{plain}{}"]),
    ],
)
def test_braces_as_in_bash(text: str, names: list[str]):
    assert sorted(expand_braces(text)) == sorted(names)


def test_braces_have_a_limit(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(VitrailError, match="more than 100,000 names"):
        expand_braces("{0..999999999}")
    monkeypatch.setattr(braces, "_MOST", 20)
    for text in ("{0..9}{0..9}", "{a,b}{0..15}"):
        with pytest.raises(VitrailError, match="more than 20 names"):
            expand_braces(text)


def test_an_archive_beside_class_folders_does_not_replace_them(tmp_path: Path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(png(1))
    (tmp_path / "photos.tar").write_bytes(tar_of(pairs("a", "b")))
    source = open_source(tmp_path)
    assert source.class_names == ("cat", "dog")
    assert any("not the archive photos.tar" in note for note in source.notes)
    assert len(open_source(tmp_path, labelled=False).samples) == 2


def test_a_class_folder_may_be_called_like_an_archive(tmp_path: Path):
    for name in ("photos.tar", "drawings.tgz"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(png(1))
    assert open_source(tmp_path).class_names == ("drawings.tgz", "photos.tar")


# Compression


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_compressed_shards_and_their_damage(tmp_path: Path, place: Path, suffix: str, pack):
    whole = pack(tar_of(pairs("cat", "dog")))
    path = tmp_path / f"s.tar.{suffix}"
    assert labels_of(opened(path, whole)) == {"0": "cat", "1": "dog"}
    (tmp_path / "good.tar").write_bytes(tar_of(pairs("cow")))
    for damaged in (whole[:-1], whole[: len(whole) // 2], whole[:-6] + bytes(6)):
        path.write_bytes(damaged)
        source = open_source(tmp_path)
        assert [bad.name for bad in source.bad] == [path.name]
        assert "damaged archive after 0 keys (it cannot be unpacked" in source.bad[0].reason
        assert labels_of(source) == {"0": "cow"}


def test_a_shard_of_zstandard(tmp_path: Path, place: Path):
    zstd = pytest.importorskip("backports.zstd")
    whole = zstd.compress(tar_of(pairs("cat", "dog")))
    path = tmp_path / "s.tar.zst"
    assert labels_of(opened(path, whole)) == {"0": "cat", "1": "dog"}
    path.write_bytes(whole[:-20])
    with pytest.raises(VitrailError, match="damaged archive after 0 keys"):
        open_source(path)


def test_a_bomb_is_not_unpacked(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unpack, "_ALWAYS_FINE", 2**16)
    bomb = gzip.compress(tar_of([("0.png", bytes(2**22)), ("0.cls", b"cat")]))
    with pytest.raises(VitrailError, match=r"unpacks to more than .* 100 times its size"):
        opened(place, bomb)
    assert list((place.parent / "cache/shards").iterdir()) == []


def test_a_full_disk_is_not_a_damaged_archive(place: Path, monkeypatch: pytest.MonkeyPatch):
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(unpack.os, "fsync", full)
    with pytest.raises(VitrailError, match=r"cannot be unpacked to .*: No space left on device; .* VITRAIL_CACHE"):
        opened(place, gzip.compress(tar_of(pairs("cat"))))
    assert list((place.parent / "cache/shards").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(place: Path, monkeypatch: pytest.MonkeyPatch):
    (place.parent / "file").write_bytes(b"")
    monkeypatch.setenv("VITRAIL_CACHE", str(place.parent / "file"))
    with pytest.raises(VitrailError, match=r"cannot be unpacked to .* VITRAIL_CACHE"):
        opened(place, gzip.compress(tar_of(pairs("cat"))))


def test_a_cut_copy_in_the_cache_is_made_again(place: Path):
    packed = gzip.compress(tar_of(pairs("cat", "dog")))
    opened(place, packed)
    (copy,) = (place.parent / "cache/shards").iterdir()
    os.truncate(copy, 1000)
    assert labels_of(open_source(place)) == {"0": "cat", "1": "dog"}
    assert len(list((place.parent / "cache/shards").iterdir())) == 1


# Damage


def header(whole: bytes, name: str) -> int:
    """Offset of the header of a member."""
    return whole.index(name.encode() + b"\0")


WHOLE = tar_of(pairs("10", "11", "12", "13"))


@pytest.mark.parametrize(
    ("damage", "keys", "reason"),
    [
        (lambda whole: whole[: header(whole, "2.png")], 3, "its end is missing"),
        (lambda whole: whole[: header(whole, "2.png") + 100], 3, ""),
        (lambda whole: whole[: header(whole, "2.png") + 520], 3, ""),
        (lambda whole: whole[: header(whole, "3.cls") + 513], 3, "3.cls is cut short"),
        (lambda whole: whole[: header(whole, "3.png") + 1024 + 511], 4, ""),
        (lambda whole: flipped(whole, header(whole, "2.cls") + 2), 2, "the header at byte"),
        (lambda whole: flipped(whole, header(whole, "2.cls") + 124), 2, "the header at byte"),
        (lambda whole: flipped(whole, header(whole, "2.cls") + 148), 2, "the header at byte"),
        (lambda whole: whole + b"more", 4, "data follow its end"),
        (lambda whole: blank(whole, header(whole, "2.cls")), 2, "data follow its end"),
        (lambda whole: whole[: header(whole, "2.cls")] + bytes(12_000), 2, "12,000 zeros end it"),
    ],
)
def test_damage_is_named_with_what_was_read(place: Path, damage, keys: int, reason: str):
    source = opened(place, damage(WHOLE))
    named = [bad.reason for bad in source.bad if bad.name == "s.tar"]
    assert len(named) == 1
    assert named[0].startswith(f"damaged archive after {keys} keys (")
    assert reason in named[0]
    assert labels_of(source).items() <= {"0": "10", "1": "11", "2": "12", "3": "13"}.items()


def test_a_lost_block_is_not_read_as_a_label(place: Path):
    start = header(WHOLE, "2.cls") + 512
    source = opened(place, WHOLE[:start] + WHOLE[start + 512 :])  # the next header has "2.png"
    assert labels_of(source) == {"0": "10", "1": "11"}
    assert "its .cls is damaged: its last block is not filled with zeros" in reasons(source)
    assert any(reason.startswith("damaged archive after 3 keys") for reason in reasons(source))


@pytest.mark.parametrize("zeros", [1024, 10_240, 11_264])
def test_archives_end_with_two_blocks_or_a_filled_record(place: Path, zeros: int):
    assert labels_of(opened(place, WHOLE.rstrip(b"\0")[: header(WHOLE, "3.png") + 1024] + bytes(zeros)))["3"] == "13"


def flipped(whole: bytes, place: int, bits: int = 1) -> bytes:
    return whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :]


def blank(whole: bytes, place: int) -> bytes:
    return whole[:place] + bytes(512) + whole[place + 512 :]


@pytest.mark.exhaustive
def test_no_damage_loses_or_changes_a_label_silently(place: Path):
    """900 seeded damages give all labels, or name the archive and give a part of the labels."""
    random = np.random.default_rng(0)
    truth = {str(i): str(10 + i) for i in range(6)}
    whole = tar_of(pairs(*truth.values()))
    headers = [header(whole, f"{i}.{kind}") for i in range(6) for kind in ("cls", "png")]
    for trial in range(900):
        spot = int(random.choice(headers)) + int(random.integers(512))
        damages = (
            flipped(whole, spot, 1 << int(random.integers(8))),
            whole[: int(random.integers(1, len(whole)))],
            blank(whole, int(random.choice(headers))),
        )
        place.write_bytes(damages[trial % 3])
        try:
            source = open_source(place)
        except VitrailError:  # not one image is left
            continue
        found = labels_of(source)
        assert found.items() <= truth.items(), trial
        assert found == truth or any(bad.name == "s.tar" for bad in source.bad), trial


def test_videos_in_shards(tmp_path: Path):
    clip = moving_square()
    data = write_video(tmp_path / "x.mp4", clip).read_bytes()
    members = [(f"{key}.{kind}", content) for key in "ab" for kind, content in (("mp4", data), ("cls", key.encode()))]
    path = tmp_path / "clips.tar"
    path.write_bytes(tar_of(members))
    source = open_source(path)
    assert (source.task, source.class_names, source.notes) == (VIDEO, ("a", "b"), ("task video: clips in shards",))
    assert left_edges(read_image(source.samples[1], 3).numpy()) == left_edges(clip.transpose(0, 3, 1, 2))
    assert [one.clip for one in open_source(path, labelled=False, task=VIDEO).samples] == [True, True]
    path.write_bytes(tar_of([*members, ("c.png", png(1)), ("c.cls", b"c")]))
    mixed = open_source(path)
    assert ([one.name for one in mixed.samples], mixed.task) == (["clips.tar/c"], CLASSIFICATION)
    assert {bad.reason for bad in mixed.bad} == {f"{key}.mp4 is a video: --task video takes videos" for key in "ab"}
    assert open_source(path, task=VIDEO).class_names == ("a", "b", "c"), "an image may be a clip by its content"


def test_a_folder_of_shards_has_clips_for_the_task_too(tmp_path: Path):
    data = write_video(tmp_path / "x.mp4", moving_square()).read_bytes()
    folder = tmp_path / "shards"
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
        (folder / split / "0.tar").write_bytes(tar_of([(f"{split}.mp4", data), (f"{split}.cls", b"a")]))
    for more in ({}, {"task": VIDEO}, {"prefer": VIDEO}, {"task": VIDEO, "labelled": False}):
        source = open_source(folder, **more)
        assert [(one.name, one.split, one.clip) for one in source.samples] == [
            ("0.tar/train", "train", True),
            ("0.tar/val", "val", True),
        ]
    (folder / "a").mkdir()
    write_video(folder / "a/x.mp4", moving_square())
    assert [one.name for one in open_source(folder, task=VIDEO).samples] == ["a/x.mp4"], "files win over archives"
