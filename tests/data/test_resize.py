"""The crop of a thin image equals the crop of the whole resized image, in a fraction of its memory."""

import tracemalloc

import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tvf

from vitrail.data.preprocess import Preprocess
from vitrail.data.resize import center_crop, resize, resize_and_crop, to_float


def whole(image: torch.Tensor, preprocess: Preprocess) -> torch.Tensor:
    """Resize the whole image, then crop."""
    least = [int(side / preprocess.crop) for side in preprocess.image_size]
    scale = max(side / found for side, found in zip(least, image.shape[1:], strict=True))
    size = [max(side, int(found * scale)) for side, found in zip(least, image.shape[1:], strict=True)]
    resized = tvf.resize(image, size, InterpolationMode(preprocess.interpolation), antialias=True)
    return tvf.center_crop(resized, list(preprocess.image_size))


@pytest.mark.parametrize("size", [(40, 50), (90, 300), (8, 8), (400, 90)])
def test_ordinary_images_are_resized_whole(size: tuple[int, int]) -> None:
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    preprocess = Preprocess(image_size=(32, 40))
    assert torch.equal(preprocess.fit(image), whole(image, preprocess))


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(1, 900), (700, 1), (3, 1000), (1500, 100), (60, 1111)])
def test_the_crop_of_a_thin_image(size: tuple[int, int], interpolation: str) -> None:
    generator = torch.Generator().manual_seed(1)
    preprocess = Preprocess(image_size=(32, 24), interpolation=interpolation, crop=0.9)
    smooth = torch.rand(3, *size, generator=generator)
    assert (preprocess.fit(smooth) - whole(smooth, preprocess)).abs().max() < 1e-4
    image = (smooth * 255).round().to(torch.uint8)
    fitted = preprocess.fit(image)
    assert fitted.dtype == torch.uint8
    # In floats: torchvision's kernels for bytes round their weights and between both directions, on some CPUs.
    assert (fitted - whole(image.float(), preprocess).clamp(0, 255)).abs().max() < 0.51


@pytest.mark.parametrize("size", [(100_000, 1), (1, 20_000), (1, 4_000)])
def test_a_thin_image_needs_little_memory(size: tuple[int, int]) -> None:
    image = torch.zeros(3, *size, dtype=torch.uint8)
    image[:, size[0] // 2 :, size[1] // 2 :] = 200
    tracemalloc.start()  # NumPy's arrays are counted; a tensor of the whole resized image would be refused by size
    fitted = Preprocess().fit(image)
    assert fitted.shape == (3, 224, 224)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    assert fitted.unique().numel() > 1  # the edge in the middle is inside


def test_channels_of_a_large_image_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.randint(0, 256, (3, 90, 120), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for interpolation in ("bilinear", "bicubic"):
        together = resize_and_crop(image, (40, 40), (32, 32), interpolation)
        monkeypatch.setattr("vitrail.data.resize._MOST_AT_ONCE", 100)
        assert (resize_and_crop(image, (40, 40), (32, 32), interpolation).int() - together.int()).abs().max() <= 1
        monkeypatch.undo()


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("capability", ["DEFAULT", "AVX2"])
def test_resize_is_that_of_torchvision(interpolation: str, capability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)
    mode, generator = InterpolationMode(interpolation), torch.Generator().manual_seed(2)
    for channels in (1, 3, 5):
        image = torch.randint(0, 256, (channels, 37, 51), dtype=torch.uint8, generator=generator)
        for given in (image, image.permute(1, 2, 0).contiguous().permute(2, 0, 1), image / 255):
            for size in ((20, 31), (64, 80), (37, 51)):
                expected = tvf.resize(given, list(size), mode, antialias=True)
                assert torch.equal(resize(given, size, interpolation), expected)
    assert torch.equal(center_crop(image, (20, 31)), tvf.center_crop(image, [20, 31]))
    assert torch.equal(to_float(image), tvf.to_dtype(image, torch.float32, scale=True))
