"""Damaged files of every format against their original pixels: what is read is right, or the format can't know."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, features

from vitrail.data.decode import BadImage, decode

Damage = Callable[[bytes, np.random.Generator], bytes]

NOISE = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
SMOOTH = np.asarray(Image.fromarray(NOISE).resize((48, 40)).resize((12, 10)).resize((48, 40), Image.Resampling.BICUBIC))


def encoded(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(SMOOTH).save(file, kind, **options)
    return file.getvalue()


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, NOISE)
    return file.getvalue()


def bands() -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, np.moveaxis(NOISE, -1, 0).repeat(2, axis=0), photometric="minisblack", compression="zlib")
    return file.getvalue()


FILES: dict[str, Callable[[], bytes]] = {
    "png": lambda: encoded("PNG"),
    "ico": lambda: encoded("ICO", sizes=[(48, 40)]),
    "jpeg": lambda: encoded("JPEG", quality=90),
    "jpeg progressive": lambda: encoded("JPEG", progressive=True),
    "jpeg restarts": lambda: encoded("JPEG", restart_marker_rows=1),
    "mpo": lambda: encoded("MPO"),
    "webp": lambda: encoded("WEBP"),
    "webp lossless": lambda: encoded("WEBP", lossless=True),
    "gif": lambda: encoded("GIF"),
    "bmp": lambda: encoded("BMP"),
    "ppm": lambda: encoded("PPM"),
    "tiff": lambda: encoded("TIFF"),
    "tiff lzw": lambda: encoded("TIFF", compression="tiff_lzw"),
    "tiff deflate": lambda: encoded("TIFF", compression="tiff_adobe_deflate"),
    "tiff packbits": lambda: encoded("TIFF", compression="packbits"),
    "tiff jpeg": lambda: encoded("TIFF", compression="jpeg"),
    "tiff lzma": lambda: encoded("TIFF", compression="lzma"),
    "tiff bands": bands,
    "jp2": lambda: encoded("JPEG2000"),
    "tga": lambda: encoded("TGA"),
    "pcx": lambda: encoded("PCX"),
    "sgi": lambda: encoded("SGI"),
    "npy": npy,
}
if features.check("avif"):
    FILES["avif"] = lambda: encoded("AVIF")


def short(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut off 1 to 8 bytes."""
    return data[: -int(rng.integers(1, 9))]


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut off any part of the end."""
    return data[: -int(rng.integers(1, len(data) - 10))]


def hole(data: bytes, rng: np.random.Generator) -> bytes:
    """Leave out a part of the middle."""
    size = int(rng.integers(1, len(data) // 3))
    start = int(rng.integers(len(data) // 4, len(data) - size))
    return data[:start] + data[start + size :]


def zeros(data: bytes, rng: np.random.Generator) -> bytes:
    """Fill the end with zeros, as an interrupted download or a full disk leaves it."""
    size = int(rng.integers(8, len(data) // 2))
    return data[:-size] + bytes(size)


def flip(data: bytes, rng: np.random.Generator) -> bytes:
    """Change one bit."""
    changed = bytearray(data)
    changed[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


CHECKSUMS = {"png", "ico"}
"""Formats that notice every damage."""
MISSING_MIDDLE = {"jpeg", "jpeg progressive", "jpeg restarts", "mpo", "gif", "tga", "tiff bands"}
"""Formats that may not notice that a part of the middle is missing."""

NOTICED: list[tuple[str, Damage]] = [
    (name, damage)
    for name in FILES
    for damage in (short, cut, hole, zeros, flip)
    if damage in (short, cut) or name in CHECKSUMS or (damage is hole and name not in MISSING_MIDDLE)
]


def silent(name: str, damage: Damage, seeds: range) -> list[int]:
    """Seeds whose damaged file is read with other pixels than the original."""
    data = FILES[name]()
    truth = decode(data)
    found = []
    for seed in seeds:
        try:
            image = decode(damage(data, np.random.default_rng(seed)))
        except BadImage:
            continue
        if not torch.equal(image, truth):
            found.append(seed)
    return found


@pytest.mark.parametrize(("name", "damage"), NOTICED)
def test_damage_is_noticed(name: str, damage: Damage) -> None:
    assert silent(name, damage, range(10)) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "damage"), NOTICED)
def test_much_damage_is_noticed(name: str, damage: Damage) -> None:
    assert silent(name, damage, range(10, 400)) == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FILES)
def test_any_damage_gives_an_image_or_a_bad_image(name: str) -> None:
    data = FILES[name]()
    for seed in range(400):
        rng = np.random.default_rng(seed)
        damaged = data
        for damage in rng.permutation(np.array([cut, hole, zeros, flip, flip, flip], dtype=object))[:3]:
            damaged = damage(damaged, rng)
            if len(damaged) < 40:
                break
        try:
            image = decode(damaged)
        except BadImage:
            continue
        assert image.ndim == 3
        assert image.numel()


def test_a_wrong_checksum_is_strict() -> None:
    png = encoded("PNG")
    at = png.index(b"IDAT")
    end = at + 4 + struct.unpack(">I", png[at - 4 : at])[0]
    assert zlib.crc32(png[at:end]) == struct.unpack(">I", png[end : end + 4])[0]
    wrong = png[:end] + bytes(4) + png[end + 4 :]
    with pytest.raises(BadImage, match="the checksum of its part IDAT is wrong"):
        decode(wrong)
    assert torch.equal(decode(wrong, strict=False), decode(png))
    assert torch.equal(decode(png + b"what follows the end"), decode(png))
    with pytest.raises(BadImage, match="truncated: a PNG without its end"):
        decode(png[:-12])


def tiff_of(compression: str, **options: object) -> tuple[bytes, int, int]:
    """A TIFF, and place and size of its first strip or tile."""
    file = io.BytesIO()
    tifffile.imwrite(file, NOISE, compression=compression, photometric="rgb", **options)
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as written:
        page = written.pages.first
        return file.getvalue(), page.dataoffsets[0], page.databytecounts[0]


@pytest.mark.parametrize("compression", ["zlib", "lzma", "jpeg"])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"rowsperstrip": 8}])
def test_checksums_and_jpegs_inside_a_tiff_are_strict(compression: str, options: dict[str, object]) -> None:
    data, start, size = tiff_of(compression, **options)
    image = decode(data)
    assert image.shape == (3, 40, 48)
    wrong = {
        "no checksum": data[: start + size - 3] + bytes(3) + data[start + size :],
        "no marker": data[: start + size - 12] + b"\xff\xff\x01" * 3 + data[start + size - 3 :],
    }
    if compression == "jpeg":  # has no checksum
        del wrong["no checksum"]
    for damaged in wrong.values():
        with pytest.raises(BadImage, match="damaged"):
            decode(damaged)


def changed(data: bytes, tag: int, value: int) -> bytes:
    """A TIFF with another value of a tag of its first page."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        found = file.pages.first.tags[tag]
    packed = struct.pack("<H" if found.dtype == 3 else "<I", value)
    return data[: found.valueoffset] + packed + data[found.valueoffset + len(packed) :]


def test_a_tiff_without_some_of_its_strips_is_truncated() -> None:
    file = io.BytesIO()
    bands = np.zeros((40, 48, 5), np.uint8)
    tifffile.imwrite(file, bands, photometric="minisblack", planarconfig="contig", compression="zlib", rowsperstrip=40)
    assert decode(file.getvalue()).shape == (5, 40, 48)
    higher = changed(file.getvalue(), 257, 400)  # the missing strips were read as black
    with pytest.raises(BadImage, match="truncated: 1 strips or tiles, and its size needs 10"):
        decode(higher)
    assert decode(higher, strict=False).shape == (5, 400, 48)


def test_a_tile_takes_no_more_memory_than_an_image() -> None:
    data, _, _ = tiff_of("zlib", tile=(16, 16))
    with pytest.raises(BadImage, match="too large: 3,221,225,472 values"):
        decode(changed(data, 323, 2**26))


def test_a_tiff_of_webp_is_read() -> None:
    data, _, _ = tiff_of("webp", compressionargs={"level": 101})  # lossless
    assert torch.equal(decode(data), torch.from_numpy(NOISE).permute(2, 0, 1))


def test_a_png_with_too_few_bytes_for_its_pixels_is_truncated() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    def png(height: int) -> bytes:
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, height, 8, 2, 0, 0, 0))
        return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(4 * 250))) + chunk(b"IEND", b"")

    assert decode(png(250)).shape == (3, 250, 1)
    with pytest.raises(BadImage, match="truncated: 17 bytes for 1 x 100,000,000 pixels"):
        decode(png(100_000_000))


def test_what_libjpeg_warns_of_is_strict() -> None:
    data = encoded("JPEG", quality=90)
    start = data.index(b"\xff\xda")
    middle = (start + len(data)) // 2
    wrong = data[:middle] + bytes(200) + data[-2:]
    with pytest.raises(BadImage, match=r"damaged .(Corrupt JPEG data|Premature end)"):
        decode(wrong)
    assert decode(wrong, strict=False).shape == (3, 40, 48)
    assert torch.equal(decode(data + b"what follows the end"), decode(data))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"subsampling": 2}, {"quality": 5}])
def test_whole_jpegs_are_whole(mode: str, options: dict[str, object]) -> None:
    file = io.BytesIO()
    Image.fromarray(SMOOTH).convert(mode).save(file, "JPEG", **options)
    assert decode(file.getvalue()).shape[1:] == (40, 48)
