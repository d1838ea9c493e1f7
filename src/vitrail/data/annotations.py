"""Labels that have a place in the image: boxes of objects, and maps with a value for each pixel.

Both are in the orientation in which `decode` returns the image, that is with EXIF applied. `Sample.labels` has a `Box`
for each object (none: an image without objects), or one `MapLabel`.
"""

from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Shaped
from torch import Tensor

IGNORED = -1
"""Value of pixels in a map of classes that are neither trained on nor evaluated."""


@dataclass(frozen=True, slots=True)
class Box:
    """An object in an image.

    Attributes:
        label: index into the source's `class_names`.
        left, top, right, bottom: edges, as fractions of the image's width and height, from 0 to 1; left < right and
            top < bottom.
        crowd: a group of objects that is not a target: detections in it are neither right nor wrong (COCO's `iscrowd`).
    """

    label: int
    left: float
    top: float
    right: float
    bottom: float
    crowd: bool = False


class MapLabel(Protocol):
    """A value for each pixel of an image, in a file or computed when it is read; picklable and comparable."""

    def read(self) -> Shaped[Tensor, "H W"]:
        """Classes as int16, indices into `class_names` or `IGNORED`; or depths as float32, NaN where unknown.

        Raises:
            BadImage: the file cannot be read.
        """
