"""Images for a page or a file: tensors to uint8 (3, H, W), to colours, to PNG and JPEG."""

import io
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor

COLOUR_MAP = "magma"
"""Perceptually uniform, dark to light, and readable in grey and with colour-blind eyes."""


def displayable(image: Tensor) -> UInt8[Tensor, "3 H W"]:
    """Any image (C, H, W) as uint8 RGB (3, H, W), to be shown; of a clip (T, C, H, W) four frames in two rows.

    One channel is grey, two are their mean in grey, three are red, green and blue; of more the first three are taken.
    Float images are on a 0 to 1 scale; one that exceeds it is stretched from its own lowest to highest value.
    """
    image = image.detach().cpu()
    if image.ndim == 4:
        image = in_rows([image[index] for index in shown_frames(image.shape[0])])
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


def shown_frames(count: int) -> list[int]:
    """Indices of the frames of a clip that are shown, four if there are so many, from the first to the last."""
    shown = 4 if count >= 4 else min(2, count)
    return [round(place * (count - 1) / max(1, shown - 1)) for place in range(shown)]


def in_rows(parts: Sequence[Tensor]) -> Tensor:
    """Put images or maps of one size together, two in a row."""
    rows = [torch.cat(list(parts[start : start + 2]), dim=-1) for start in range(0, len(parts), 2)]
    return torch.cat(rows, dim=-2)


def enlarge(image: UInt8[Tensor, "3 H W"], least: int = 256) -> UInt8[Tensor, "3 H2 W2"]:
    """Repeat pixels until the shorter side has at least `least`; larger images are unchanged."""
    times = max(1, -(-least // min(image.shape[1:])))
    return image.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)


def colours(values: Float[Tensor, "H W"]) -> UInt8[Tensor, "3 H W"]:
    """Values as colours, from 0 (dark) to their highest (light)."""
    from matplotlib import colormaps

    values = values.detach().cpu().float()
    scaled = values / values.amax().clamp(min=1e-12)
    table = colormaps[COLOUR_MAP](scaled.clamp(0, 1).numpy(), bytes=True)
    return torch.from_numpy(np.ascontiguousarray(table[..., :3])).permute(2, 0, 1)


def encode(image: UInt8[Tensor, "3 H W"]) -> tuple[str, bytes]:
    """An image as (media type, content of a file): PNG if small, JPEG otherwise."""
    pil, memory = to_pil(image), io.BytesIO()
    if min(image.shape[1:]) <= 128:
        pil.save(memory, "PNG", optimize=True)
        return "image/png", memory.getvalue()
    pil.save(memory, "JPEG", quality=90)
    return "image/jpeg", memory.getvalue()


def encode_map(values: UInt8[Tensor, "3 H W"]) -> tuple[str, bytes]:
    """A small coloured map as (media type, content): a PNG with a palette, a few hundred bytes."""
    memory = io.BytesIO()
    to_pil(values).quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
        memory, "PNG", optimize=True
    )
    return "image/png", memory.getvalue()


def to_pil(image: UInt8[Tensor, "3 H W"]) -> Image.Image:
    """The image as a Pillow image."""
    return Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))


def png_bytes(image: UInt8[Tensor, "3 H W"]) -> bytes:
    """The image as a PNG file."""
    memory = io.BytesIO()
    to_pil(image).save(memory, "PNG")
    return memory.getvalue()


def index_png(values: Int[Tensor, "H W"]) -> bytes:
    """Integers from 0 to 65,535 as a grey PNG file, of 8 bits if they suffice."""
    memory = io.BytesIO()
    wide = values.numel() > 0 and int(values.max()) > 255
    Image.fromarray(values.numpy().astype(np.uint16 if wide else np.uint8)).save(memory, "PNG")
    return memory.getvalue()
