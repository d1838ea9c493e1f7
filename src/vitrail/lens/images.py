"""Images given by the user, decoded one at a time, and names of output files."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Shaped
from PIL import Image
from torch import Tensor

from ..data.decode import BadImage, decode
from ..data.file_bytes import read_file
from ..data.in_memory import ImageLike as MemoryImage
from ..data.in_memory import clip_tensor, image_tensor
from ..data.open import SourceLike, is_source, open_source, read_image
from ..data.samples import short_names
from ..data.split_choice import SplitChoice, choose_split
from ..task_spec import VIDEO

T = TypeVar("T")

ImageLike = SourceLike | MemoryImage
"""A path (a file, folder or glob), a `Source`, a Dataset, a Pillow image, an array as in a `.npy` file, or a tensor."""


def named_images(
    given: Iterable[ImageLike] | ImageLike,
    channels: int,
    limit: int | None = None,
    *,
    then: Callable[[Tensor], T],
    split: SplitChoice = "all",
    run: Path | None = None,
    strict: bool = True,
    least: int | None = None,
    frames: int | None = None,
) -> tuple[Iterator[tuple[str, T | BadImage]], int]:
    """Iterate over (name, `then` of the image (C, H, W)) of all images, decoded lazily; also return their number.

    `then` resizes an image, so that no more than one is in memory at its full size.

    Names of files are the parts of their paths that distinguish them; images in memory are "image 1" and so on. An
    image that cannot be read is replaced by its error.

    Args:
        given: one `ImageLike` or several; a path may be anything that `open_source` takes.
        channels: C.
        limit: largest number of images of each source; the first ones are used.
        then: applied to each image, such as `Preprocess.fit`.
        split: the part of each source.
        run: path of the checkpoint's run, see `choose_split`.
        strict: see `open_source`.
        least: shorter side that is enough for `then`, such as `Preprocess.enough`, see `decode`.
        frames: number of frames, for clips (T, C, H, W) instead of images.
    """
    prefer = None if frames is None else VIDEO
    single = is_source(given) or isinstance(given, Image.Image | np.ndarray | Tensor)
    items: list[Any] = [given] if single else list(given)  # type: ignore[arg-type]
    opened = [open_source(item, labelled=False, prefer=prefer, strict=strict) for item in items if is_source(item)]
    sources = [choose_split(source, split, run) for source in opened]
    samples = [sample for source in sources for sample in source.samples[:limit]]
    bad = [file for source in sources for file in source.bad]
    held = [item for item in items if not is_source(item)]

    def read() -> Iterator[tuple[str, T | BadImage]]:
        for shown, sample in zip(short_names([sample.name for sample in samples]), samples, strict=True):
            try:
                found: T | BadImage = read_image(sample, channels, least=least, frames=frames, then=then)
            except BadImage as error:
                shown, found = sample.name, error
            yield shown, found
        for number, item in enumerate(held, start=1):
            name = f"image {number}"
            try:
                convert = decoded if frames is None else clip_tensor
                found = then(convert(item, channels, name=name))
            except BadImage as error:
                found = error
            yield name, found
        for file in bad:
            yield file.name, BadImage(file.name, file.reason)

    return read(), len(samples) + len(held) + len(bad)


def decoded(
    image: str | os.PathLike[str] | MemoryImage, channels: int, *, name: str = "image"
) -> Shaped[Tensor, "C H W"]:
    """Return an image as a tensor (C, H, W), uint8 or float32, by the rules of `vitrail.data.decode`.

    Raises:
        BadImage: the image cannot be read, or has another number of channels.
    """
    if isinstance(image, str | os.PathLike):
        path = Path(image)
        try:
            return decode(read_file(path), channels, name=str(path))
        except OSError as error:
            raise BadImage(str(path), error.strerror or str(error)) from error
    return image_tensor(image, channels, name=name)


def readable(
    images: Iterable[tuple[str, T | BadImage]],
    say: Callable[[str], None] = lambda sentence: None,
    unreadable: list[tuple[str, str]] | None = None,
) -> list[tuple[str, T]]:
    """Return the images without unreadable ones.

    Args:
        say: function that is called with a message for each unreadable image.
        unreadable: list to which their names and reasons are added.
    """
    found = []
    for name, image in images:
        if isinstance(image, BadImage):
            say(f"left out {name}: {image.reason}")
            if unreadable is not None:
                unreadable.append((name, image.reason))
        else:
            found.append((name, image))
    return found


def file_stem(name: str, taken: set[str]) -> str:
    """Return a file name without suffix for an image, valid on every system and not in `taken`, and add it there.

    Names are compared without case.
    """
    stem = re.sub(r"[^\w.\- ]+", "_", Path(name).stem).strip(" ._")[:60] or "image"
    free, number = stem, 1
    while free.casefold() in taken:
        number += 1
        free = f"{stem}-{number}"
    taken.add(free.casefold())
    return free
