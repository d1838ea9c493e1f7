import torch

from vitrail import create_model
from vitrail.training.growth import shrink_batch, small_size


def test_sizes_keep_to_the_patch():
    vit = create_model("vit_tiny_patch16_224", image_size=(96, 64), depth=1)
    assert small_size(vit, (96, 64), 0.75) == (64, 48)
    assert small_size(vit, (16, 16), 0.1) == (16, 16)
    compact = create_model("compact_small_32", depth=1)
    assert small_size(compact, (32, 32), 0.75) == (24, 24)
    assert compact(torch.randn(2, 3, 24, 24)).shape == (2, 10)


def test_shrinking_keeps_the_mean_and_the_whole_size_is_untouched():
    pixels = torch.rand(2, 3, 32, 32)
    assert shrink_batch(pixels, (32, 32)) is pixels
    small = shrink_batch(pixels, (16, 16))
    torch.testing.assert_close(small.mean((2, 3)), pixels.mean((2, 3)), atol=0.02, rtol=0)
