"""Comparison of an exported model with PyTorch, on the bytes of real image files."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Shaped
from PIL import Image
from torch import Tensor

from ..checkpoint.contract import Checkpoint
from ..data.decode import decode
from ..data.fitted import read_fitted
from ..data.open import SourceLike, is_source, open_source
from ..data.preprocess import Preprocess
from ..data.resize import to_float
from ..errors import VitrailError
from .agreement import difference, tensors
from .precision import reduced_precision
from .served import ServedModel

MOST_IMAGES = 32
"""Images of the user that are compared at most."""

_ROTATED = 6
"""EXIF's orientation of an image to turn by 90°."""


def generated_files() -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of image files of several kinds: odd sizes, grey, CMYK, rotated by EXIF, transparent, black."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((333, 251), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = _ROTATED
    yield "odd.jpg", _encoded(image, "JPEG")
    yield "tiny.png", _encoded(image.resize((7, 5)), "PNG")
    yield "grey.jpg", _encoded(image.convert("L"), "JPEG")
    yield "cmyk.jpg", _encoded(image.convert("CMYK"), "JPEG")
    yield "rotated.jpg", _encoded(image, "JPEG", exif.tobytes())
    yield "transparent.png", _encoded(image.convert("RGBA"), "PNG")
    yield "black.png", _encoded(Image.new("RGB", (64, 48)), "PNG")


def _encoded(image: Image.Image, kind: str, exif: bytes = b"") -> bytes:
    file = io.BytesIO()
    image.save(file, kind, exif=exif)
    return file.getvalue()


def fitted_images(
    given: SourceLike | Sequence[SourceLike] | None, preprocess: Preprocess, dtype: torch.dtype
) -> Shaped[Tensor, "n C H W"]:
    """Decoded and resized images of the user's files, or of generated ones if there are none, in `dtype`.

    For a model of videos too, whose frames they become, see `largest_difference`.

    Raises:
        VitrailError: a source has no image, or a file cannot be read.
    """
    preprocess = replace(preprocess, frames=None)
    if given is None or (not is_source(given) and not list(given)):
        files = _generated(preprocess)
    else:
        sources = [given] if is_source(given) else given
        samples = [sample for source in sources for sample in open_source(source, labelled=False).samples]
        if not samples:
            raise VitrailError("no image was found to check the export with: give files, or leave them out")
        files = (read_fitted(sample, preprocess).image for sample in samples[:MOST_IMAGES])
    return torch.stack([_with_values(image, dtype) for image in files])


def _with_values(image: Tensor, dtype: torch.dtype) -> Tensor:
    """An image in uint8, or in float32 on the scale where a uint8 image is 0 to 1."""
    if image.dtype == dtype:
        return image
    return to_float(image) if dtype == torch.float32 else (image * 255).round().clamp(0, 255).to(torch.uint8)


def _generated(preprocess: Preprocess) -> Iterator[Tensor]:
    if preprocess.channels in (1, 3):
        for name, data in generated_files():
            yield decode(data, preprocess.channels, name=name, then=preprocess.fit)
    else:  # of other numbers of channels there is no common kind of file
        noise = np.random.default_rng(0).integers(0, 256, (2, preprocess.channels, 61, 83), dtype=np.uint8)
        yield from (preprocess.fit(image) for image in torch.from_numpy(noise))
        yield preprocess.fit(torch.zeros(preprocess.channels, 20, 30, dtype=torch.uint8))


def largest_difference(
    run: Callable[[Tensor], list[Tensor]],
    served: ServedModel,
    checkpoint: Checkpoint,
    images: Shaped[Tensor, "n C H W"],
) -> float:
    """Largest relative difference between an exported model and the checkpoint in float32, see `difference`.

    The checkpoint's side has its own normalisation, model and task. All images run as one batch, and the first alone.
    """
    batch = _as_videos(images, served.shape)
    pixels = replace(checkpoint.preprocess, frames=None).normalise(images)
    with torch.inference_mode(), reduced_precision(torch.device("cpu"), torch.float32):
        output = checkpoint.model.eval()(_as_videos(pixels, served.shape))
        expected = tensors(served.task.decoded(served.task.joined(output)))
    if not all(bool(torch.isfinite(leaf).all()) for leaf in expected):
        raise VitrailError("the model's outputs are not finite: its weights are damaged, or its training diverged")
    alone = [tensor[:1] for tensor in expected]
    return max(difference(run(batch), expected), difference(run(batch[:1]), alone))


def _as_videos(images: Shaped[Tensor, "n C H W"], shape: tuple[int, ...]) -> Tensor:
    """The images, or of a model of videos each as the first of the frames of a video."""
    if len(shape) == 3:
        return images
    frames = (torch.arange(len(images))[:, None] + torch.arange(shape[1])) % len(images)
    return images[frames].transpose(1, 2)
