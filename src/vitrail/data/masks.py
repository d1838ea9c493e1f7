"""Object masks: a folder of masks, white on black, with the names of the images."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePath

import torch
from jaxtyping import Bool
from torch import Tensor

from ..errors import VitrailError
from .decode import BadImage, decode
from .file_bytes import read_file
from .folder_source import is_image
from .preprocess import Preprocess
from .samples import Sample, normal

PathParts = tuple[str, ...]
"""A path from its first folder to the name without suffix."""


def mask_files(folder: Path, samples: Iterable[Sample]) -> dict[str, Path]:
    """Find the mask files: name of a sample -> file, for samples with a mask.

    A mask has the image's path in the source, with any suffix of an image: `cat/3.png` for `cat/3.jpg`. Either
    path may have more leading folders than the other, as long as each mask fits one image.

    Raises:
        VitrailError: not a folder, no mask at all, two masks for an image, or two images for a mask.
    """
    if not folder.is_dir():
        raise VitrailError(f"{folder} is no folder: --masks takes one with a mask for each image, of the same name")
    by_name: dict[str, list[tuple[PathParts, Path]]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if is_image(path.name):
            parts = _parts(path.relative_to(folder).as_posix())
            by_name[parts[-1]].append((parts, path))
    found: dict[str, Path] = {}
    owner: dict[Path, str] = {}
    for sample in samples:
        parts = _parts(sample.name)
        mask = _best(sample.name, parts, by_name[parts[-1]])
        if mask is None:
            continue
        if owner.setdefault(mask, sample.name) != sample.name:
            raise VitrailError(
                f"the mask {mask} fits both {owner[mask]} and {sample.name}: "
                "put the masks into the same folders as the images"
            )
        found[sample.name] = mask
    return found


def missing_mask(sample: Sample) -> VitrailError:
    """Return the error for an image without a mask."""
    name = PurePath(*_parts(sample.name)).as_posix()
    return VitrailError(f"there is no mask for {sample.name}: it would be {name}.png in the folder of masks")


def read_mask(sample: Sample, file: Path, size: tuple[int, int], preprocess: Preprocess) -> Bool[Tensor, "H W"]:
    """Read the object mask at the pixels of a sample; all False if the mask is black.

    The object is the brighter value in a mask with two values, all pixels more than half white in one with more values,
    and all pixels more than half opaque in one with transparency.

    Args:
        size: (height, width) of the whole image, of which the mask may be a smaller or larger copy.

    Raises:
        VitrailError: the mask cannot be read, has another aspect ratio than the image, or is grey.
    """
    try:
        levels = _levels(file)
    except (BadImage, OSError) as error:
        reason = error.reason if isinstance(error, BadImage) else error.strerror
        raise VitrailError(f"the mask {file} of {sample.name} cannot be read: {reason}") from error
    height, width = levels.shape
    # Allow for a pixel lost in rounding.
    if abs(height * size[1] - width * size[0]) > max(height, width, *size):
        raise VitrailError(
            f"the mask of {sample.name} is {width}×{height} px, the image {size[1]}×{size[0]} (width × height): "
            "it must show the same part, in any resolution"
        )
    return preprocess.fit((255 * _object(levels, sample)).to(torch.uint8)[None])[0] > 127


def _levels(file: Path) -> Tensor:
    """Values of the mask (H, W), on the scale of the file."""
    data = read_file(file)
    try:
        opaque = decode(data, channels=4, name=str(file))[3]
    except BadImage:  # no transparency: the usual mask
        return decode(data, channels=1, name=str(file))[0]
    return decode(data, channels=1, name=str(file))[0] if (opaque == opaque.max()).all() else opaque


def _object(levels: Tensor, sample: Sample) -> Bool[Tensor, "H W"]:
    values = levels.unique()
    if len(values) == 2:
        return levels == values[1]
    white = 255 if levels.dtype == torch.uint8 else 1
    brightest = values[-1].item()
    if 0 < brightest <= white / 2:
        raise VitrailError(
            f"the mask of {sample.name} has nothing brighter than {brightest:g} of {white}: make the object white"
        )
    return levels > white / 2


def _best(name: str, parts: PathParts, masks: list[tuple[PathParts, Path]]) -> Path | None:
    """Mask whose path has the longest common end with the image's, if one path ends with the other."""
    fitting = [(min(len(parts), len(other)), other == parts, path) for other, path in masks if _tail(parts, other)]
    if not fitting:
        return None
    *_, (length, same, best) = sorted(fitting)
    rivals = [path for *rank, path in fitting if rank == [length, same] and path != best]
    if rivals:
        raise VitrailError(f"{name} has two masks, {rivals[0]} and {best}: leave one of them in the folder")
    return best


def _tail(one: PathParts, other: PathParts) -> bool:
    length = min(len(one), len(other))
    return one[-length:] == other[-length:]


def _parts(name: str) -> PathParts:
    path = PurePath(normal(name))
    return (path.with_suffix("") if is_image(path.name) else path).parts
