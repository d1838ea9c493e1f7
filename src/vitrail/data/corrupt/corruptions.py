"""The fifteen common corruptions by name (Hendrycks and Dietterich, 2019, section 3)."""

from ...errors import VitrailError, nearest
from .blur import defocus_blur, glass_blur, motion_blur, zoom_blur
from .digital import contrast, elastic_transform, jpeg_compression, pixelate
from .noise import gaussian_noise, impulse_noise, shot_noise
from .recipe import Corruption, Image
from .weather import brightness, fog, frost, snow

CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "defocus_blur": defocus_blur,
    "glass_blur": glass_blur,
    "motion_blur": motion_blur,
    "zoom_blur": zoom_blur,
    "snow": snow,
    "frost": frost,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "elastic_transform": elastic_transform,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
}


def corrupt(image: Image, name: str, severity: int, seed: int = 0) -> Image:
    """Corrupt an image (H, W, C), uint8 with 1 or 3 channels; deterministic for given arguments.

    Raises:
        VitrailError: unknown corruption or severity, an image of another type, or SciPy is missing.
    """
    if name not in CORRUPTIONS:
        raise VitrailError(f"there is no corruption {name!r}: {nearest(name, CORRUPTIONS)}")
    return CORRUPTIONS[name](image, severity, seed)
