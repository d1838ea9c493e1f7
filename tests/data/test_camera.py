"""Files of cameras and telephones: HEIC through its extra, raw files by name."""

import struct
import sys
from io import BytesIO

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from vitrail.data.decode import BadImage, decode

HEIC = b"\0\0\0\x18ftypheic" + b"\0" * 64


def heic(image: Image.Image, **options: object) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=-1, chroma=444, **options)
    return file.getvalue()


def test_heic_is_read() -> None:
    array = np.kron(np.arange(48, dtype=np.uint8).reshape(6, 8) * 5, np.ones((8, 8), np.uint8))
    data = heic(Image.fromarray(np.dstack([array, array.T.reshape(48, 64), array])))
    image = decode(data)
    assert image.shape == (3, 48, 64)
    assert (image[0].int() - torch.from_numpy(array).int()).abs().max() <= 3  # the colour space is rounded
    assert decode(data, 1).shape == (1, 48, 64)
    for count in (1, 20, len(data) // 2):
        with pytest.raises(BadImage):
            decode(data[:-count])


def test_orientation_of_a_heic() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    array = np.zeros((64, 96, 3), np.uint8)
    array[:32] = 255  # white at the top of what is stored, which is right once upright
    image = decode(heic(Image.fromarray(array), exif=exif.tobytes()))
    assert image.shape == (3, 96, 64)
    assert image[:, :, 40:].min() > 250
    assert image[:, :, :24].max() < 5


def test_heic_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(BadImage, match=r'a HEIC image: pip install "vitrail\[heic\]"'):
        decode(HEIC)


def tiff(*tags: tuple[object, ...], **options: object) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, np.zeros((4, 5), np.uint8), extratags=tags, metadata=None, **options)
    return file.getvalue()


RAW = {
    "Canon CR2": b"II*\0" + struct.pack("<I", 16) + b"CR\2\0" + bytes(64),
    "Canon CR3": b"\0\0\0\x18ftypcrx " + bytes(64),
    "Olympus ORF": b"IIRO" + bytes(64),
    "Panasonic RW2": b"IIU\0" + bytes(64),
    "Fujifilm RAF": b"FUJIFILMCCD-RAW 0201" + bytes(64),
    "DNG, NEF, ARW": tiff((50706, "B", 4, (1, 4, 0, 0), True), photometric="minisblack"),
    "NEF, ARW or the like": tiff(
        (65000, "I", 1, 8, True), (271, "s", 6, "NIKON\0", True), subfiletype=1, photometric="minisblack"
    ).replace(struct.pack("<H", 65000), struct.pack("<H", 330)),  # tifffile writes no tag 330 by hand
}


@pytest.mark.parametrize("kind", RAW)
def test_raw_files_are_named(kind: str) -> None:
    with pytest.raises(BadImage, match=f"a camera's raw file .*{kind}.*: export it as JPEG, PNG or TIFF"):
        decode(RAW[kind])
    assert decode(tiff((271, "s", 6, "NIKON\0", True), photometric="minisblack")).shape == (1, 4, 5)
