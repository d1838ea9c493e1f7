"""Cut-outs: RGBA images in a folder, each the object of a class."""

import csv
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ...errors import VitrailError
from ..samples import natural, normal
from ..seeds import derive

_LEAST_OPAQUE = 0.2
_LARGEST = 512
"""Side that cut-outs are reduced to when they are read, in pixels; objects are smaller."""


@dataclass(frozen=True, slots=True)
class Cutout:
    """A file with a cut-out.

    Attributes:
        path: the file.
        name: name of its class.
        state: size and modification time, so that another file of this name is another cut-out.
    """

    path: str
    name: str
    state: tuple[int, int]


def find_cutouts(folder: str, classes: int | None, seed: int) -> tuple[Cutout, ...]:
    """Choose cut-outs of a folder by seed, in natural order of their names.

    Those of which less than a fifth of their square is opaque are left out, as are images without transparency. The
    names are the files', or those of a table `names.csv` or `captions.csv` beside them with columns `file` and `name`.

    Args:
        folder: folder of RGBA images.
        classes: number of cut-outs; None: at most 12.
        seed: seed of the choice.

    Raises:
        VitrailError: no folder, or too few cut-outs in it.
    """
    try:
        files = sorted((path for path in Path(folder).iterdir() if path.suffix.lower() in (".png", ".webp")), key=str)
    except OSError as error:
        raise VitrailError(f"scenes: cutouts={folder} cannot be read: {error.strerror}; name a folder") from error
    order = np.random.default_rng(derive(seed, "cutouts")).permutation(len(files))
    chosen: list[Path] = []
    for place in order:
        if len(chosen) < (classes or 12) and _is_cutout(files[place]):
            chosen.append(files[place])
    if len(chosen) < (classes or 2):
        raise VitrailError(
            f"scenes: {folder} has {len(chosen)} cut-outs, but {classes or 2} are needed: PNG or WebP images with "
            "transparency, at least a fifth of their square opaque"
        )
    names = _names(Path(folder), chosen)
    found = (Cutout(str(path.absolute()), name, _state(path)) for path, name in zip(chosen, names, strict=True))
    return tuple(sorted(found, key=lambda cutout: natural(cutout.name)))


@lru_cache(maxsize=256)
def read_cutout(cutout: Cutout) -> tuple[Image.Image, ...]:
    """Read a cut-out without its transparent border, as colours times opacity ("RGBa").

    Returns:
        The image with at most 512 px, and with half, a quarter … of its sides, so that little is left to reduce. Each
        has a transparent border of one pixel, without which turned edges would be jagged.

    Raises:
        OSError: the file cannot be read, or has changed since the scenes were opened.
    """
    if _state(Path(cutout.path)) != cutout.state:
        raise OSError(f"{cutout.path} has changed since the scenes were opened")
    with Image.open(cutout.path) as file:
        whole = file.convert("RGBA")
    whole = whole.crop(whole.getchannel("A").getbbox()).convert("RGBa")
    whole.thumbnail((_LARGEST, _LARGEST))
    levels = [whole]
    while min(levels[-1].size) >= 8:
        levels.append(levels[-1].reduce(2))
    return tuple(ImageOps.expand(level, 1) for level in levels)


def _state(path: Path) -> tuple[int, int]:
    facts = os.stat(path)
    return facts.st_size, facts.st_mtime_ns


def _is_cutout(path: Path) -> bool:
    try:
        with Image.open(path) as file:
            if not file.has_transparency_data:
                return False
            alpha = np.asarray(file.convert("RGBA").getchannel("A"))
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    return bool((alpha > 127).sum() >= _LEAST_OPAQUE * max(alpha.shape) ** 2)


def _names(folder: Path, files: list[Path]) -> list[str]:
    """Names of the classes; files whose name in the table is another's too keep their own."""
    own = [normal(path.stem) for path in files]
    table = next((path for name in ("names.csv", "captions.csv") if (path := folder / name).is_file()), None)
    if table is None:
        return own
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:
            given = {row.get("file"): normal(row.get("name") or "") for row in csv.DictReader(lines)}
    except (OSError, ValueError, csv.Error) as error:
        raise VitrailError(f"scenes: {table} cannot be read ({error}): mend or remove it") from error
    names = [given.get(path.name) or mine for path, mine in zip(files, own, strict=True)]
    return [name if names.count(name) == 1 else mine for name, mine in zip(names, own, strict=True)]
