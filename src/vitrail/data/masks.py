"""Where the object of a picture is: a folder of masks, white on black, under the pictures' own names."""

from collections.abc import Mapping
from pathlib import Path

from jaxtyping import Bool
from torch import Tensor

from ..errors import VitrailError
from .decode import BadImage, decode
from .folders import is_image
from .preprocess import Preprocess
from .sources import Sample, read_image


def mask_files(folder: Path) -> dict[str, Path]:
    """{name without suffix, relative to the folder: file}.

    Raises:
        VitrailError: no folder.
    """
    if not folder.is_dir():
        raise VitrailError(f"{folder} is no folder: --masks takes one with a mask for each picture, of the same name")
    files = (path for path in sorted(folder.rglob("*")) if is_image(path.name))
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in files}


def read_mask(sample: Sample, found: Mapping[str, Path], preprocess: Preprocess) -> Bool[Tensor, "H W"]:
    """Where the object is in the pixels of a sample: more than half white.

    A mask may be larger or smaller than its picture, but not of other proportions.

    Raises:
        VitrailError: there is no mask of this name, it cannot be read, or it does not fit the picture.
    """
    name = Path(sample.name).with_suffix("").as_posix()
    if name not in found:
        raise VitrailError(f"there is no mask for {sample.name}: it would be {name}.png in the folder of masks")
    try:
        mask = decode(found[name].read_bytes(), channels=1, name=str(found[name]))
    except BadImage as error:
        raise VitrailError(f"the mask of {sample.name} cannot be read: {error.reason}") from error
    height, width = read_image(sample, preprocess.channels).shape[1:]
    rows, columns = mask.shape[1:]
    if abs(columns * height - rows * width) > max(height, width):  # more than rounding a side to whole pixels makes
        raise VitrailError(
            f"the mask of {sample.name} is {columns}×{rows}, the picture {width}×{height}: make them of one shape"
        )
    return preprocess.fit(mask)[0] > 127
