"""Images for a page or a file: tensors to uint8 (3, H, W), to colours, to PNG and JPEG."""

import io

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

COLOUR_MAP = "magma"
"""Perceptually uniform, dark to light, and readable in grey and with colour-blind eyes."""


def displayable(image: Tensor) -> UInt8[Tensor, "3 H W"]:
    """Any image (C, H, W) as a picture for the eye.

    One channel is grey, two are their mean in grey, three are red, green and blue, of more the first three
    are taken so. Float images are on a 0..1 scale; one that goes beyond it is stretched to it from its own
    lowest to highest value.
    """
    image = image.detach().cpu()
    if image.dtype != torch.uint8:
        image = image.float().nan_to_num()
        low, high = image.amin(), image.amax()
        if low < 0 or high > 1:
            image = (image - low) / (high - low).clamp(min=1e-12)
        image = (image * 255).round().to(torch.uint8)
    if image.shape[0] < 3:
        image = image.float().mean(dim=0, keepdim=True).round().to(torch.uint8)
        return image.expand(3, -1, -1)
    return image[:3]


def enlarge(picture: UInt8[Tensor, "3 H W"], least: int = 256) -> UInt8[Tensor, "3 H2 W2"]:
    """Repeat pixels until the shorter side has at least `least` of them; large pictures stay."""
    times = max(1, -(-least // min(picture.shape[1:])))
    return picture.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)


def colours(values: Float[Tensor, "H W"]) -> UInt8[Tensor, "3 H W"]:
    """Values from 0 to their highest, dark to light."""
    from matplotlib import colormaps

    values = values.detach().cpu().float()
    scaled = values / values.amax().clamp(min=1e-12)
    table = colormaps[COLOUR_MAP](scaled.clamp(0, 1).numpy(), bytes=True)
    return torch.from_numpy(np.ascontiguousarray(table[..., :3])).permute(2, 0, 1)


def encode(picture: UInt8[Tensor, "3 H W"]) -> tuple[str, bytes]:
    """A picture as a file in memory, with its media type: PNG for small ones, JPEG for photographs."""
    image, memory = to_pil(picture), io.BytesIO()
    if min(picture.shape[1:]) <= 128:
        image.save(memory, "PNG", optimize=True)
        return "image/png", memory.getvalue()
    image.save(memory, "JPEG", quality=90)
    return "image/jpeg", memory.getvalue()


def encode_map(values: UInt8[Tensor, "3 H W"]) -> tuple[str, bytes]:
    """A small coloured map as PNG with a palette: a few hundred bytes."""
    memory = io.BytesIO()
    to_pil(values).quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        memory, "PNG", optimize=True
    )
    return "image/png", memory.getvalue()


def to_pil(picture: UInt8[Tensor, "3 H W"]) -> Image.Image:
    """The picture as a Pillow image."""
    return Image.fromarray(np.ascontiguousarray(picture.permute(1, 2, 0).numpy()))
