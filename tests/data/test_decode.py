"""Each row of decode's tables, and each way a file can be broken; the oracle is NumPy on known values."""

import contextlib
import struct
import threading
import warnings
import zlib
from io import BytesIO

import numpy as np
import pytest
import torch
from image_bytes import npy, tiff
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as tvf

from vitrail.data.decode import MAX_PIXELS, BadImage, decode

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)


def encoded(image: Image.Image | np.ndarray, kind: str = "png", **options: object) -> bytes:
    file = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def channels_first(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 0)))


def test_colour_and_grey_and_each_as_the_other():
    assert torch.equal(decode(encoded(COLOUR)), channels_first(COLOUR))
    assert torch.equal(decode(encoded(GREY)), torch.from_numpy(GREY)[None])
    assert torch.equal(decode(encoded(GREY), 3), torch.from_numpy(GREY).expand(3, 5, 7))
    luma = (COLOUR @ np.array([0.299, 0.587, 0.114])).round()
    assert (decode(encoded(COLOUR), 1)[0] - torch.from_numpy(luma)).abs().max() <= 1


def test_transparency_lies_over_white():
    rgba = np.dstack([COLOUR, GREY])
    share = GREY[..., None] / 255
    over = COLOUR * share + 255 * (1 - share)
    assert (decode(encoded(rgba)).float() - channels_first(over)).abs().max() <= 1
    assert torch.equal(decode(encoded(rgba), 4), channels_first(rgba))
    grey_alpha = decode(encoded(Image.fromarray(np.dstack([GREY, np.zeros_like(GREY)]), "LA")))
    assert grey_alpha.shape == (1, 5, 7)
    assert grey_alpha.eq(255).all()


def test_palette_with_a_transparent_colour():
    image = Image.fromarray(COLOUR).quantize(8)
    plain = np.array(image.convert("RGB"))
    assert torch.equal(decode(encoded(image)), channels_first(plain))
    hidden = np.array(image) == 3
    expected = np.where(hidden[..., None], 255, plain).astype(np.uint8)
    assert torch.equal(decode(encoded(image, transparency=3)), channels_first(expected))
    several = bytes([255, 255, 255, 0])  # transparency given as bytes makes Pillow warn
    assert torch.equal(decode(encoded(image, transparency=several)), channels_first(expected))


def test_cmyk_and_one_bit():
    inks = np.zeros((4, 4, 4), np.uint8)
    inks[..., 0] = 255  # cyan only
    assert decode(encoded(Image.fromarray(inks, "CMYK"), "tiff"))[:, 0, 0].tolist() == [0, 255, 255]
    assert decode(encoded(Image.fromarray(inks, "CMYK"), "jpeg"))[0].max() < 8
    bits = decode(encoded(Image.fromarray(GREY > 99)))
    assert torch.equal(bits[0] == 255, torch.from_numpy(GREY > 99))


@pytest.mark.parametrize("kind", ["png", "tiff", "ppm"])
def test_sixteen_bit_grey(kind: str):
    image = decode(encoded(DEEP, kind))
    assert image.dtype == torch.float32
    torch.testing.assert_close(image[0], torch.from_numpy(DEEP / 65535).float())


def test_integers_and_floats_of_32_bits():
    whole = RNG.integers(0, 2**31, (5, 7)).astype(np.int32)
    assert torch.equal(decode(encoded(whole, "tiff"))[0], torch.from_numpy(whole).float())
    real = RNG.random((5, 7), dtype=np.float32)
    assert torch.equal(decode(encoded(real, "tiff"), 3)[1], torch.from_numpy(real))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 13])
def test_arrays_of_n_bands(n: int):
    array = RNG.integers(0, 256, (n, 16, 20), dtype=np.uint8)
    expected = torch.from_numpy(array)
    assert torch.equal(decode(npy(array), n), expected)
    assert torch.equal(decode(npy(np.moveaxis(array, 0, -1))), expected)
    assert torch.equal(decode(npy(np.asfortranarray(array))), expected)
    if n > 1:
        separate = tiff(array, photometric="minisblack", planarconfig="separate")
        assert torch.equal(decode(separate), expected)
    if n > 2:  # two samples together are grey and alpha, unless the file says otherwise
        together = tiff(np.moveaxis(array, 0, -1), photometric="minisblack", planarconfig="contig")
        assert torch.equal(decode(together), expected)
    assert torch.equal(decode(tiff(array, photometric="minisblack")), expected)  # a page for each band


def test_value_types_of_arrays():
    assert decode(npy(np.array([[True, False]]))).tolist() == [[[255, 0]]]
    torch.testing.assert_close(decode(npy(DEEP))[0], torch.from_numpy(DEEP / 65535).float())
    assert torch.equal(decode(npy(np.float64(GREY) / 255))[0], torch.from_numpy(GREY / 255).float())


def test_exif_orientation_is_applied():
    for orientation, expected in [(3, GREY[::-1, ::-1]), (6, np.rot90(GREY, -1)), (8, np.rot90(GREY))]:
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind in ("png", "tiff"):
            image = decode(encoded(GREY, kind, exif=exif))
            assert torch.equal(image[0], torch.from_numpy(expected.copy())), (kind, orientation)
        lossy = encoded(np.kron(GREY, np.ones((8, 8), np.uint8)), "jpeg", exif=exif, quality=100)
        assert (decode(lossy)[0, 4::8, 4::8].float() - torch.from_numpy(expected.copy())).abs().max() < 4


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_colour_jpegs_have_the_values_that_pillow_reads(orientation: int, subsampling: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = RNG.integers(0, 256, (33, 50, 3), dtype=np.uint8)
    for options in ({}, {"progressive": True}):
        data = encoded(image, "jpeg", exif=exif, subsampling=subsampling, **options)
        turned = ImageOps.exif_transpose(Image.open(BytesIO(data)))
        assert torch.equal(decode(data), channels_first(np.asarray(turned)))
        assert torch.equal(decode(data, 1)[0], torch.from_numpy(np.array(turned.convert("L"))))


def test_damaged_exif_costs_the_orientation_only():
    data = encoded(GREY, "jpeg", exif=b"Exif\0\0II*\0\xff\xff\xff\xffgarbage")
    assert torch.equal(decode(data), decode(encoded(GREY, "jpeg")))


def test_animations_give_the_first_frame():
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue")]
    for kind in ("gif", "webp", "png"):
        image = decode(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
        assert image.shape == (3, 4, 6)
        assert image[0].min() > 240
        assert image[2].max() < 16


@pytest.mark.parametrize(
    ("array", "channels", "reason"),
    [
        (COLOUR, 4, "transparency"),
        (COLOUR, 5, "5 channels"),
        (GREY, 2, "2 channels"),
    ],
)
def test_pictures_with_too_few_channels(array: np.ndarray, channels: int, reason: str):
    with pytest.raises(BadImage, match=reason):
        decode(encoded(array), channels)


BAD_ARRAYS = {
    "not finite": np.array([[1.0, np.nan]]),
    "Python objects": np.array([[None]]),
    "no pixels": np.zeros((0, 3)),
    "shape": np.zeros(4),
    "complex": np.zeros((2, 2), complex),
}


@pytest.mark.parametrize("reason", BAD_ARRAYS)
def test_bad_arrays(reason: str):
    with pytest.raises(BadImage, match=reason):
        decode(npy(BAD_ARRAYS[reason]))


def png_bomb(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


BROKEN = {
    "empty": (b"", "empty file"),
    "text": (b"hello, I am a picture", "not an image"),
    "html": (b"<!DOCTYPE html><html>404</html>", "not an image"),
    "heic": (b"\0\0\0\x18ftypheic" + b"\0" * 64, "HEIC|meta"),  # the extra is missing, or reads it
    "bomb": (png_bomb(60_000, 60_000), f"too large: 3,600,000,000 pixels, the limit is {MAX_PIXELS:,}"),
    "npy bomb": (npy(np.zeros((2, 2))).replace(b"(2, 2), }" + b" " * 8, b"(99999, 99999), }"), "too large"),
    "only a header": (encoded(COLOUR, "jpeg")[:3], "not an image"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files(kind: str):
    data, reason = BROKEN[kind]
    with pytest.raises(BadImage, match=reason) as caught:
        decode(data, name="cats/a b é.jpg")
    assert str(caught.value).startswith("cats/a b é.jpg: ")


PICTURE = Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "bmp", "tiff", "ppm", "gif"])
def test_truncated_anywhere_is_bad(kind: str):
    data = encoded(PICTURE, kind)
    for part in (0.1, 0.4, 0.7, 0.9):
        with pytest.raises(BadImage):
            decode(data[: int(len(data) * part)])
    with pytest.raises(BadImage, match="truncated"):
        decode(npy(GREY)[:-3])


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "bmp", "tiff", "gif", "npy"])
def test_random_damage_gives_an_image_or_bad_image_and_nothing_else(kind: str):
    clean = npy(GREY) if kind == "npy" else encoded(PICTURE, kind)
    for seed in range(150):
        rng = np.random.default_rng(seed)
        damaged = bytearray(clean)
        for place in rng.integers(0, min(len(damaged), 400), rng.integers(1, 8)):
            damaged[place] = rng.integers(0, 256)
        with contextlib.suppress(BadImage):
            assert decode(bytes(damaged)).ndim == 3


def test_damaged_png_data_is_noticed():
    data = bytearray(encoded(PICTURE))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(BadImage):
        decode(bytes(data))


def test_threads_leave_the_warning_filters_as_they_were():
    data = encoded(Image.fromarray(COLOUR).quantize(8), transparency=bytes([255, 0]))
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [decode(data) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_bad_image_survives_the_way_out_of_a_worker():
    import pickle

    error = pickle.loads(pickle.dumps(BadImage("a.png", "empty file")))
    assert (error.name, error.reason, str(error)) == ("a.png", "empty file", "a.png: empty file")


def test_large_images_are_converted_channel_by_channel(monkeypatch):
    files = [encoded(COLOUR), encoded(GREY), encoded(Image.fromarray(np.dstack([COLOUR, GREY])))]
    ordinary = [decode(file, channels) for file in files for channels in (None, 1, 3)]
    monkeypatch.setattr("vitrail.data.decode._LARGE", 1)
    assert all(map(torch.equal, ordinary, [decode(file, channels) for file in files for channels in (None, 1, 3)]))


def photograph(height: int, width: int) -> bytes:
    """A JPEG of soft shapes with fine texture."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((width, height), 3)
    fine = random.normal(0, 12, (height, width, 3))
    pixels = (np.asarray(coarse).astype(float) + fine).clip(0, 255).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("size", "expected"), [((800, 1200), (200, 300)), ((430, 430), (215, 215)), ((390, 900), (390, 900))]
)
def test_a_large_jpeg_is_decoded_small_enough_and_nearly_as_the_whole_one(size, expected):
    data = photograph(*size)
    small = decode(data, least=200)
    assert tuple(small.shape[1:]) == expected
    whole = tvf.resize(decode(data), list(expected), antialias=True)
    difference = (small.int() - whole.int()).abs().float()
    assert difference.mean() < 2.5, "grey levels of 255"
    assert torch.equal(decode(data, least=size[0]), decode(data))
