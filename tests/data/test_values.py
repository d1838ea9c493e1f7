"""Values of every type, from files and from memory, and what later steps make of them."""

from io import BytesIO

import numpy as np
import pytest
import torch
from image_bytes import npy, tiff
from PIL import Image

from vitrail.data.augment import image_transform
from vitrail.data.augment_options import Augment
from vitrail.data.decode import decode
from vitrail.data.in_memory import image_tensor
from vitrail.data.preprocess import Preprocess
from vitrail.data.samples import FileAt, Sample
from vitrail.data.seeds import seed_cpu
from vitrail.data.survey import Facts
from vitrail.training import training_data
from vitrail.training.training_data import SplitData

RNG = np.random.default_rng(0)
AS_STORED = ["int8", "int16", "int32", "int64", "uint32", "uint64", "float16", "float32", "float64"]


@pytest.mark.parametrize("kind", AS_STORED)
def test_wide_integers_and_floats_are_as_stored(kind: str) -> None:
    top = 120 if kind == "int8" else 255
    array = RNG.integers(0 if kind.startswith("u") else -top, top, (6, 7)).astype(kind)
    wanted = torch.from_numpy(array.astype(np.float32))[None]
    for image in (decode(npy(array)), decode(npy(array.astype(array.dtype.newbyteorder(">")))), image_tensor(array)):
        assert image.dtype == torch.float32
        assert torch.equal(image, wanted)
    assert torch.equal(decode(tiff(array, photometric="minisblack")), wanted)
    together = decode(tiff(np.stack([array] * 5, axis=-1), photometric="minisblack", planarconfig="contig"))
    assert torch.equal(together, wanted.expand(5, -1, -1))


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bits_are_zero_to_one(order: str) -> None:
    array = RNG.integers(0, 65536, (6, 7)).astype(f"{order}u2")
    wanted = torch.from_numpy(array.astype(np.float64) / 65535).float()[None]
    for image in (decode(npy(array)), decode(tiff(array, byteorder=order)), image_tensor(array.astype(np.uint16))):
        torch.testing.assert_close(image, wanted, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_white_is_zero(kind: str) -> None:
    """The same grey levels, whichever end is white, also where tifffile reads the file."""
    array = RNG.integers(0, 255, (6, 7)).astype(kind)
    top = np.iinfo(kind).max
    for pages in (array, np.stack([array] * 3)):
        plain = decode(tiff(pages, photometric="minisblack"))
        turned = decode(tiff(top - pages, photometric="miniswhite"))
        assert torch.equal(turned, plain)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_many_bands_is_that_of_one(orientation: int) -> None:
    array = RNG.integers(0, 255, (5, 6, 7)).astype(np.uint8)
    tag = [(274, "H", 1, orientation, True)]
    alone = [decode(tiff(band, photometric="minisblack", extratags=tag)) for band in array]
    for together in (
        tiff(array, photometric="minisblack", extratags=tag),
        tiff(np.moveaxis(array, 0, -1), photometric="minisblack", planarconfig="contig", extratags=tag),
    ):
        assert torch.equal(decode(together), torch.cat(alone))


@pytest.mark.parametrize("augment", [Augment(color_jitter=0.4, crop="none"), Augment(randaugment=2, crop="none")])
@pytest.mark.parametrize(("low", "high"), [(-1024.0, 3071.0), (0.0, 255.0), (-1.0, 1.0)])
def test_colour_operations_keep_the_range_of_floats(augment: Augment, low: float, high: float) -> None:
    transform = image_transform(augment, Preprocess(image_size=(12, 12)))
    unit = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(0))
    unit = (unit - unit.min()) / (unit.max() - unit.min())
    spread = []
    for seed in range(8):
        seed_cpu(seed)
        changed = transform(unit * (high - low) + low)
        assert changed.min() >= low - 1e-3
        assert changed.max() <= high + 1e-3
        seed_cpu(seed)
        torch.testing.assert_close((changed - low) / (high - low), transform(unit), rtol=0, atol=0.01)
        spread.append(float(changed.std()) / (high - low))
    assert np.median(spread) > 0.1  # clipped to 0 and 1 it would be a ten-thousandth


def test_memory_of_kept_images_is_that_of_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets: list[list[int]] = []
    monkeypatch.setattr(training_data, "remember", lambda read, sizes, budget: budgets.append(sizes) or read)
    samples = tuple(Sample(name, (), None, FileAt(name)) for name in "ab")
    part = SplitData(samples, (Facts(100, 50, 3, "a"), Facts(100, 50, 3, "b", value_bytes=4)))
    preprocess = Preprocess(image_size=(10, 10))
    part.fitted_reader(preprocess, 0)
    part.shrunk_reader(preprocess, 0)
    assert budgets == [[300, 1200], [20 * 40 * 3, 20 * 40 * 3 * 4]]


def test_pillow_and_files_agree_on_wide_types() -> None:
    for array in (RNG.integers(0, 2**31, (5, 7)).astype(np.int32), RNG.integers(0, 65536, (5, 7)).astype(np.uint16)):
        file = BytesIO()
        Image.fromarray(array).save(file, "TIFF")
        assert torch.equal(decode(file.getvalue()), image_tensor(array))
        assert torch.equal(decode(file.getvalue()), image_tensor(Image.fromarray(array)))
