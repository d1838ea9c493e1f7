"""Cache of decoded images in memory, used if all fit."""

from collections.abc import Callable, Sequence

from torch import Tensor

from .resize import resize

Decode = Callable[[int], Tensor]


def shrink(image: Tensor, side: int) -> Tensor:
    """Shrink an image or a clip so that its shorter side is at most `side` pixels; smaller images are unchanged.

    Training does not need the full resolution of a 12-megapixel photograph, which costs time and memory.
    """
    height, width = image.shape[-2:]
    scale = side / min(height, width)
    if scale >= 1:
        return image
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return resize(image, size, "bilinear")


def remember(decode: Decode, sizes: Sequence[int], budget: int) -> Decode:
    """Return a decoder that caches its images, if all of them fit the budget.

    Args:
        decode: index -> image.
        sizes: bytes of each decoded image.
        budget: available bytes; if the images need more, the decoder is returned unchanged.
    """
    if sum(sizes) > budget:
        return decode
    return _Remembering(decode, len(sizes))


class _Remembering:
    def __init__(self, decode: Decode, count: int) -> None:
        self.decode = decode
        self.images: list[Tensor | None] = [None] * count

    def __call__(self, index: int) -> Tensor:
        image = self.images[index]
        if image is None:
            image = self.images[index] = self.decode(index).contiguous()
        return image
