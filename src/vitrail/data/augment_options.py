"""Options of augmentation, in a file without torch so that the command line starts fast."""

from dataclasses import dataclass
from typing import Literal

from ..errors import VitrailError


@dataclass(frozen=True, kw_only=True, slots=True)
class Augment:
    """Augmentation of training images, applied in this order; a rate of 0 leaves a step out."""

    crop: Literal["resized", "shift", "none"] = "resized"
    """resized: a random crop (Inception's); shift: a random shift, mirrored at the border; none: as in evaluation."""
    crop_scale: tuple[float, float] = (0.35, 1.0)
    """Smallest and largest fraction of the area that the resized crop keeps."""
    crop_ratio: tuple[float, float] = (0.75, 1.3333)
    """Narrowest and widest aspect ratio of the resized crop."""
    shift: float = 0.125
    """Largest shift, as a fraction of the image's side."""
    flip: float = 0.5
    """Rate of horizontal flips."""
    color_jitter: float = 0.0
    """Strength of random brightness, contrast and saturation."""
    randaugment: int = 0
    """Number of RandAugment operations (Cubuk et al., 2020)."""
    randaugment_magnitude: int = 9
    """Strength of the RandAugment operations, 0 to 30."""
    erasing: float = 0.0
    """Rate of erasing a random rectangle (Zhong et al., 2020)."""

    def __post_init__(self) -> None:
        for name in ("flip", "erasing"):
            if not 0 <= getattr(self, name) <= 1:
                raise VitrailError(f"augment.{name} is a rate and {getattr(self, name)} is not between 0 and 1")
        for name, most in (("shift", 1), ("color_jitter", 10), ("randaugment", 100), ("randaugment_magnitude", 30)):
            if not 0 <= getattr(self, name) <= most:
                raise VitrailError(f"augment.{name} is {getattr(self, name)}: use 0, which leaves it out, to {most}")
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise VitrailError(f"augment.crop_scale is {low} to {high}: it needs 0 < smallest <= largest <= 1")
        narrow, wide = self.crop_ratio
        if not 0.01 <= narrow <= wide <= 100:
            raise VitrailError(f"augment.crop_ratio is {narrow} to {wide}: it needs 0.01 <= narrowest <= widest <= 100")
