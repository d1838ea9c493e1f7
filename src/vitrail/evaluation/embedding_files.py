"""Writes embeddings to one file (NumPy, Parquet or CSV) in bounded memory."""

import csv
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..checkpoint.atomic import write_file
from ..errors import VitrailError
from ..tables import check_folder, make_parent

_PATHS_PER_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Rows:
    """Embeddings of consecutive images.

    Attributes:
        paths: paths of the images.
        vectors: (n, D); NaN for an image that could not be read.
        errors: why an image could not be read, or None.
    """

    paths: tuple[str, ...]
    vectors: Float[Tensor, "n D"]
    errors: tuple[str | None, ...]


def check_target(target: Path) -> None:
    """Raise VitrailError if this file or folder cannot be written, before anything is computed."""
    if target.suffix and target.suffix not in _WRITERS:
        raise VitrailError(
            f"{target} ends in {target.suffix}: use {', '.join(_WRITERS)}, or no suffix for a folder of parts"
        )
    if target.suffix and target.is_dir():
        raise VitrailError(f"{target} is a folder: name a file in it, such as {target / 'embeddings.npz'}")
    if not target.suffix and target.is_file():
        raise VitrailError(f"{target} is a file: name another folder for the parts")
    check_folder(target.parent)
    if target.suffix == ".parquet":
        _import_parquet()


def write_rows(rows: Iterable[Rows], paths: Sequence[str], width: int, target: Path) -> int:
    """Write one file, atomically, and return the number of images that could not be read.

    Args:
        rows: embeddings of all images, in order.
        paths: paths of all images.
        width: width D of a vector.
        target: file that ends in .npz, .parquet or .csv.
    """
    failed = 0

    def counted() -> Iterator[Rows]:
        nonlocal failed
        for part in rows:
            failed += sum(error is not None for error in part.errors)
            yield part

    make_parent(target)
    write_file(target, lambda file: _WRITERS[target.suffix](counted(), paths, width, file))
    return failed


def _write_npz(rows: Iterable[Rows], paths: Sequence[str], width: int, file: Path) -> None:
    errors: list[str] = []
    with file.open("wb") as stream, zipfile.ZipFile(stream, "w") as archive:
        with _member(archive, "vectors.npy") as member:
            _header(member, "<f4", (len(paths), width))
            for part in rows:
                member.write(part.vectors.numpy().astype("<f4").tobytes())
                errors += [error or "" for error in part.errors]
        _write_strings(archive, "paths.npy", paths)
        _write_strings(archive, "errors.npy", errors)


def _write_strings(archive: zipfile.ZipFile, name: str, values: Sequence[str]) -> None:
    """Write a string array in blocks: all strings of a NumPy array have the length of the longest."""
    kind = f"<U{max(1, max(map(len, values), default=1))}"
    with _member(archive, name) as member:
        _header(member, kind, (len(values),))
        rest = iter(values)
        while block := list(islice(rest, _PATHS_PER_BLOCK)):
            member.write(np.array(block, dtype=kind).tobytes())


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    # A ZipInfo has a constant time, so that equal embeddings give equal bytes.
    return archive.open(zipfile.ZipInfo(name), "w", force_zip64=True)


def _header(member: IO[bytes], kind: str, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(member, {"descr": kind, "fortran_order": False, "shape": shape})


def _write_csv(rows: Iterable[Rows], paths: Sequence[str], width: int, file: Path) -> None:
    # Paths may have bytes that are not UTF-8; they are written unchanged.
    with file.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["path", *(f"v{column}" for column in range(1, width + 1)), "error"])
        for part in rows:
            for path, vector, error in zip(part.paths, part.vectors.tolist(), part.errors, strict=True):
                cells = [""] * width if error is not None else [f"{value:.9g}" for value in vector]
                writer.writerow([path, *cells, error or ""])


def _write_parquet(rows: Iterable[Rows], paths: Sequence[str], width: int, file: Path) -> None:
    pa, parquet = _import_parquet()
    kind = pa.list_(pa.float32(), width)
    schema = pa.schema([("path", pa.string()), ("vector", kind), ("error", pa.string())])
    with parquet.ParquetWriter(file, schema) as writer:
        for part in rows:
            missing = pa.array([error is not None for error in part.errors])
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(part.vectors.numpy().ravel()), type=kind, mask=missing)
            names = [path.encode("utf-8", "replace").decode() for path in part.paths]  # Parquet's strings are UTF-8
            writer.write_table(pa.table([pa.array(names), vectors, pa.array(part.errors, pa.string())], schema=schema))


def _import_parquet():  # type: ignore[no-untyped-def]  # modules of an optional package without types
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise VitrailError('Parquet needs pyarrow: pip install "vitrail[parquet]", or write .npz or .csv') from error
    return pyarrow, parquet


_WRITERS: dict[str, Callable[[Iterable[Rows], Sequence[str], int, Path], None]] = {
    ".npz": _write_npz,
    ".parquet": _write_parquet,
    ".csv": _write_csv,
}
"""Suffix -> function (rows, paths, width, file) that writes the format."""
