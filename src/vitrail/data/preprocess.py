"""Preprocessing of images to pixels, stored with the checkpoint and used by every command."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from ..errors import VitrailError
from ..plain import short
from ..typed import build
from .in_memory import ImageLike, clip_tensor, image_tensor
from .resize import resize_and_crop, stretch_and_crop, to_float
from .spaced import spaced

Interpolation = Literal["bicubic", "bilinear", "nearest"]

_MOST_SIDE, _MOST_CHANNELS, _MOST_FRAMES, _MOST_VALUE = 32_768, 4_096, 4_096, 1e12
_FIRST_FIELDS = ("image_size", "crop", "interpolation", "mean", "std", "channels")
"""Fields that every stored preprocessing has; those added later have defaults that change nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocess:
    """Resize, centre crop and normalisation for evaluation, prediction and serving.

    The shorter side is resized to `image_size / crop`, keeping the aspect ratio, then the centre is cropped. With
    `stretch`, both sides are resized to `image_size / crop`, whatever the aspect ratio.

    Attributes:
        image_size: (height, width) of the pixels.
        crop: fraction of the resized image's side that the centre crop keeps, in (0, 1].
        interpolation: interpolation of the resize, with antialiasing.
        mean, std: mean and standard deviation of each channel, on the scale where a uint8 image is 0 to 1.
        channels: number of channels of the model; see `vitrail.data.decode` for the conversion of images.
        stretch: resize without keeping the aspect ratio, as transformers' ViT and timm's "squash" do.
        frames: number of frames T of a model for clips; None: a model for images. A clip (T, C, H, W) is reduced to so
            many evenly spaced frames, some of which repeat if it has fewer, and its pixels are (C, T, H, W).
    """

    image_size: tuple[int, int] = (224, 224)
    crop: float = 0.9
    interpolation: Interpolation = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    channels: int = 3
    stretch: bool = False
    frames: int | None = None

    def __post_init__(self) -> None:
        if not all(1 <= side <= _MOST_SIDE * self.crop for side in self.image_size) or not 0 < self.crop <= 1:
            raise VitrailError(
                f"preprocess has image_size {short(self.image_size)} and crop {self.crop}: sides and side / crop are "
                f"from 1 to {_MOST_SIDE:,} pixels, crop is more than 0 and at most 1"
            )
        if not 1 <= self.channels <= _MOST_CHANNELS:
            raise VitrailError(f"preprocess has {short(self.channels)} channels: use 1 to {_MOST_CHANNELS:,}")
        if self.frames is not None and not 1 <= self.frames <= _MOST_FRAMES:
            raise VitrailError(f"preprocess has {short(self.frames)} frames: use 1 to {_MOST_FRAMES:,}")
        if not all(abs(mean) <= _MOST_VALUE for mean in self.mean) or not all(
            1 / _MOST_VALUE <= std <= _MOST_VALUE for std in self.std
        ):
            raise VitrailError(
                f"preprocess has mean {short(self.mean)} and std {short(self.std)}: the mean is from -{_MOST_VALUE:g} "
                f"to {_MOST_VALUE:g}, std from {1 / _MOST_VALUE:g}"
            )

    def __call__(self, image: ImageLike) -> Float[Tensor, "C *size"]:
        """Convert an image to pixels (C, H, W), or a clip to pixels (C, T, H, W).

        Args:
            image: a Pillow image, an array or a tensor, see `image_tensor` and `clip_tensor`; it is converted to
                `channels`.
        """
        return self.normalise(self.fit(self.tensor(image)))

    def tensor(self, image: ImageLike, *, name: str = "image") -> Shaped[Tensor, "*frames C H W"]:
        """Convert what a user gave to an image (C, H, W), or with `frames` to a clip (T, C, H, W).

        Raises:
            BadImage: it cannot be used; `name` is its name in the message.
        """
        return (image_tensor if self.frames is None else clip_tensor)(image, self.channels, name=name)

    def batch(self, images: Iterable[ImageLike]) -> Float[Tensor, "B C *size"]:
        """Convert images of any sizes (a list, or an array or tensor with a batch axis) to pixels (B, C, H, W).

        Raises:
            VitrailError: there is no image, or one cannot be used; the message has its index.
        """
        pixels = [
            self.normalise(self.fit(self.tensor(image, name=f"image {number}"))) for number, image in enumerate(images)
        ]
        if not pixels:
            raise VitrailError("a batch of no images: give at least one")
        return torch.stack(pixels)

    @property
    def fitted_shape(self) -> tuple[int, ...]:
        """Shape of what `fit` returns: (C, H, W), or (T, C, H, W)."""
        return (*(() if self.frames is None else (self.frames,)), self.channels, *self.image_size)

    @property
    def enough(self) -> int | None:
        """Shorter side of an image in pixels from which `fit` gives nearly what it gives of a larger one, see `decode`.

        It is twice that of the resized image, so that the resize still averages: values of photographs differ by 0.3 of
        255 on average, those of line drawings and texts by up to 4. None for interpolation without averages, and for
        clips, whose frames are decoded as a whole.
        """
        return None if self.frames is not None or self.interpolation == "nearest" else 2 * max(self._least)

    @property
    def _least(self) -> tuple[int, int]:
        """Least (height, width) of the resized image; rounded down, as timm does: 224 / 0.9 is 248."""
        height, width = self.image_size
        return math.floor(height / self.crop), math.floor(width / self.crop)

    def fit(self, image: Tensor) -> Tensor:
        """Resize and centre-crop to `image_size`, and reduce a clip to `frames`; the values keep their scale."""
        if self.frames is not None and image.shape[0] != self.frames:
            image = image[spaced(image.shape[0], self.frames)]
        return self.fit_sides(image)

    def fit_sides(self, image: Tensor) -> Tensor:
        """Resize and centre-crop to `image_size`, with all frames of a clip."""
        make = stretch_and_crop if self.stretch else resize_and_crop
        return make(image, self._least, self.image_size, self.interpolation)

    @property
    def keeps_values(self) -> bool:
        """Whether pixels are the values of uint8 images, 0 to 255, as models take them after `fold_preprocess`."""
        return not any(self.mean) and all(std == 1 / 255 for std in self.std)

    def normalise(self, image: Tensor) -> Float[Tensor, "*batch C H W"]:
        """Scale uint8 to 0..1, subtract the mean, divide by the deviation; also for a batch.

        Clips (T, C, H, W) become pixels (C, T, H, W).
        """
        if self.keeps_values and image.dtype == torch.uint8:
            return self._swapped(image.float())
        mean, std = self._channel_values(image.device)
        return self._swapped(to_float(image).sub(mean).div_(std))

    def for_engine(self, image: Tensor) -> Tensor:
        """`normalise` for an engine: uint8 images are returned as they are where their values are the pixels."""
        keeps = self.keeps_values and image.dtype == torch.uint8
        return self._swapped(image) if keeps else self.normalise(image)

    def denormalise(self, pixels: Float[Tensor, "*batch C H W"]) -> Float[Tensor, "*batch C H W"]:
        """Inverse of `normalise`, on the scale where a uint8 image is 0 to 1; also for a batch."""
        mean, std = self._channel_values(pixels.device)
        return self._swapped(pixels) * std + mean

    def _swapped(self, values: Tensor) -> Tensor:
        """Clips (T, C, H, W) as (C, T, H, W), and the other way round; images unchanged."""
        return values if self.frames is None else values.transpose(-3, -4)

    def _channel_values(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and deviation as tensors (C, 1, 1)."""
        mean, std = (torch.tensor(values, device=device).view(-1, 1, 1) for values in (self.mean, self.std))
        return mean, std

    def viewable(self, pixels: Float[Tensor, "*batch C H W"]) -> Float[Tensor, "*batch C H W"]:
        """Inverse of `normalise` for display: also clipped to 0..1, unless mean and deviation are of other values."""
        images = self.denormalise(pixels)
        return images.clamp(0, 1) if self.is_of_unit_range else images

    @property
    def is_of_unit_range(self) -> bool:
        """Whether the images are those of ordinary files: uint8, or floats from 0 to 1."""
        # Values from 0 to 1 have a mean between them, and deviations of these checkpoints are 1 at most.
        return all(0 <= mean <= 1 and std <= 1 for mean, std in zip(self.mean, self.std, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values for model.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocess":
        """Inverse of `to_dict`, strict; fields that earlier versions did not have may be missing.

        Raises:
            VitrailError: a missing or unknown field, or an invalid value.
        """
        found = build(cls, values, "preprocess")
        missing = [name for name in _FIRST_FIELDS if name not in values]
        if missing:
            raise VitrailError(f"preprocess has no {', '.join(missing)}: add it")
        for name in ("mean", "std"):
            if len(values[name]) != found.channels:
                raise VitrailError(
                    f"preprocess has {name} {short(values[name])} for {found.channels} channels: give one for each"
                )
        return found
