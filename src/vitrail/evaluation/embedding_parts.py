"""Writes embeddings to a folder of parts, which an interrupted run can continue.

    out/manifest.json      the model's digest, the settings, the images' digest and number, the width
    out/part-00000.npz     vectors (n, D), paths (n), errors (n; empty if the image could be read)
    out/part-00001.npz     ...

The manifest is written first, each part is written atomically, and a part depends only on its own images. After an
interruption, complete parts are kept, and the others are computed with the same result.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..checkpoint.atomic import write_file
from ..errors import VitrailError
from ..plain import short
from ..progress import Track, silent
from .embedding_files import Rows, write_rows

MANIFEST = "manifest.json"
_FORMAT = "vitrail.embeddings"


def write_parts(
    folder: Path,
    paths: Sequence[str],
    rows: Callable[[int, int], Iterable[Rows]],
    settings: Mapping[str, Any],
    *,
    images_per_part: int,
    progress: Track = silent,
) -> int:
    """Write the missing parts, and return the number of images in all parts that could not be read.

    Args:
        folder: a new or empty folder, or one begun with the same model, settings and images.
        paths: paths of all images, which identify them.
        rows: function (start, stop) -> embeddings of these images.
        settings: plain JSON values that the vectors depend on, with "width".
        images_per_part: number of images in every part but the last.
        progress: counts the parts.

    Raises:
        VitrailError: the folder has other files or other embeddings, or no image could be read.
    """
    names = "\0".join(paths).encode("utf-8", "surrogateescape")
    identity = {
        "format": _FORMAT,
        "version": 1,
        **settings,
        "images": len(paths),
        "images_digest": hashlib.sha256(names).hexdigest(),
        "images_per_part": images_per_part,
    }
    _begin(folder, identity)
    failed = 0
    starts = range(0, len(paths), images_per_part)
    for index, start in enumerate(progress(starts, len(starts), "parts")):
        part, own = folder / f"part-{index:05d}.npz", paths[start : start + images_per_part]
        done = _failures(part, own, settings["width"])
        if done is None:
            done = write_rows(rows(start, start + len(own)), own, settings["width"], part)
        failed += done
    if failed == len(paths):
        raise VitrailError(f"none of the {failed} images could be read; the reasons are in {folder}")
    return failed


def _begin(folder: Path, identity: dict[str, Any]) -> None:
    """Write the manifest, or compare it with the existing one."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / MANIFEST
    # As read back from JSON: tuples become lists.
    plain = json.loads(json.dumps(identity))
    if not manifest.is_file():
        if any(folder.iterdir()):
            raise VitrailError(f"{folder} has other files than embeddings: name a new folder, or empty it")
        write_file(manifest, json.dumps(plain, indent=2).encode())
        return
    try:
        found = json.loads(manifest.read_bytes())
    except ValueError as error:
        raise VitrailError(f"{manifest} is not JSON ({error}): name a new folder") from error
    known = found if isinstance(found, dict) else {}
    if known.get("engine") == "auto":  # as earlier versions wrote
        known["engine"] = "torch"
    other = [name for name in {**plain, **known} if known.get(name) != plain.get(name)]
    if other:
        raise VitrailError(
            f"{folder} has embeddings of another run; different are {', '.join(other)}"
            f"{_of_engine(other, known)}: name a new folder, or give "
            "the same model, settings and images to continue it"
        )


def _of_engine(other: Sequence[str], known: Mapping[str, Any]) -> str:
    """The engine of a folder in words, if it differs: `vitrail optimize` may have changed it since."""
    return f" (there: {short(known.get('engine'))})" if "engine" in other else ""


def _failures(part: Path, paths: Sequence[str], width: int) -> int | None:
    """Number of unreadable images in a complete part; None if the part is missing or incomplete."""
    if not part.is_file():
        return None
    try:
        with part.open("rb") as file, np.load(file) as arrays:
            fits = arrays["vectors"].shape == (len(paths), width) and arrays["paths"].tolist() == list(paths)
            return int((arrays["errors"] != "").sum()) if fits else None
    except (OSError, ValueError, KeyError, BadZipFile):
        return None
