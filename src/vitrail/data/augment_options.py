"""Options of augmentation, in a file without torch so that the command line starts fast."""

from dataclasses import dataclass
from typing import Literal

from ..errors import VitrailError
from .randaugment_policy import parse_policy


@dataclass(frozen=True, kw_only=True, slots=True)
class Augment:
    """Augmentation of training images, applied in this order; a rate of 0 leaves a step out."""

    crop: Literal["resized", "simple", "shift", "none"] = "resized"
    """resized: a random crop (Inception's); simple: DeiT III's crop of the resized image; shift: a random shift,
    mirrored at the border; none: as in evaluation."""
    crop_scale: tuple[float, float] = (0.35, 1.0)
    """Smallest and largest fraction of the area that the resized crop keeps."""
    crop_ratio: tuple[float, float] = (0.75, 1.3333)
    """Narrowest and widest aspect ratio of the resized crop."""
    shift: float = 0.125
    """Largest shift, as a fraction of the image's side."""
    flip: float = 0.5
    """Rate of horizontal flips."""
    flip_mode: Literal["random", "alternate"] = "random"
    """alternate: each image is flipped in every second epoch, whatever the rate; a rate of 0 still means no flips."""
    three_augment: bool = False
    """One of grayscale, solarization and blur for each image: DeiT III's 3-Augment, with color_jitter 0.3."""
    color_jitter: float = 0.0
    """Strength of random brightness, contrast and saturation."""
    color_jitter_rate: float = 1.0
    """Rate of the colour jitter."""
    hue: float = 0.0
    """Strength of a random hue, 0 to 0.5, with the rate of the colour jitter."""
    randaugment: int | str = 0
    """RandAugment (Cubuk et al., 2020): number of operations, or timm's notation, such as rand-m9-mstd0.5-inc1."""
    randaugment_magnitude: int = 9
    """Strength of the RandAugment operations, 0 to 30, if `randaugment` is a number."""
    grayscale: float = 0.0
    """Rate of grayscale."""
    blur: float = 0.0
    """Rate of a Gaussian blur of 0.1 to 2 pixels."""
    solarize: float = 0.0
    """Rate of inverting the values of the upper half of the range."""
    erasing: float = 0.0
    """Rate of erasing a random rectangle (Zhong et al., 2020)."""
    erasing_mode: Literal["mean", "pixel"] = "mean"
    """mean: fill with the mean colour; pixel: with normal noise in each pixel."""
    repeats: int = 1
    """Repeated augmentation (Hoffer et al., 2020): times that an epoch has each image, augmented differently, one after
    the other; it has as many images in all, and so 1 / repeats of the different ones."""

    def __post_init__(self) -> None:
        for name in ("flip", "erasing", "color_jitter_rate", "grayscale", "blur", "solarize"):
            if not 0 <= getattr(self, name) <= 1:
                raise VitrailError(f"augment.{name} is a rate and {getattr(self, name)} is not between 0 and 1")
        for name, most in (("shift", 1), ("color_jitter", 10), ("hue", 0.5), ("randaugment_magnitude", 30)):
            if not 0 <= getattr(self, name) <= most:
                raise VitrailError(f"augment.{name} is {getattr(self, name)}: use 0, which leaves it out, to {most}")
        if isinstance(self.randaugment, str):
            parse_policy(self.randaugment)
        elif not 0 <= self.randaugment <= 100:
            raise VitrailError(f"augment.randaugment is {self.randaugment}: use 0, which leaves it out, to 100")
        if not 1 <= self.repeats <= 100:
            raise VitrailError(f"augment.repeats is {self.repeats}: use 1, which repeats nothing, to 100")
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise VitrailError(f"augment.crop_scale is {low} to {high}: it needs 0 < smallest <= largest <= 1")
        narrow, wide = self.crop_ratio
        if not 0.01 <= narrow <= wide <= 100:
            raise VitrailError(f"augment.crop_ratio is {narrow} to {wide}: it needs 0.01 <= narrowest <= widest <= 100")
