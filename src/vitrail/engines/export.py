"""Export of a checkpoint for other runtimes, with normalisation and decoding inside, compared with PyTorch."""

import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ..checkpoint.contract import Checkpoint, CheckpointLike, load
from ..data.open import SourceLike
from ..errors import VitrailError
from ..progress import Say, discard_message
from .agreement import tensors
from .export_check import fitted_images, largest_difference
from .export_facts import MARK, export_facts
from .formats.export_format import FORMATS, ExportFormat, Job, export_format
from .program import to_program
from .served import ServedModel

Values = Literal["auto", "uint8", "float32"]

_TOLERANCE, _TOLERANCE_OF_HALF = 1e-3, 1e-2
"""Largest relative difference from PyTorch with weights in float32, and in float16."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """An exported model.

    Attributes:
        path: its file, or folder of a web page.
        size: bytes of all its files.
        images: number of images that it was compared with PyTorch on.
        difference: largest relative difference from PyTorch on them.
        tolerance: largest one that was allowed.
    """

    path: Path
    size: int
    images: int
    difference: float
    tolerance: float


def export(
    checkpoint: CheckpointLike,
    out: str | os.PathLike[str],
    *,
    format: str | None = None,
    images: SourceLike | Sequence[SourceLike] | None = None,
    half: bool = False,
    image_size: int | tuple[int, int] | None = None,
    any_size: bool = False,
    values: Values = "auto",
    runtime: str | os.PathLike[str] | None = None,
    say: Say = discard_message,
) -> Exported:
    """Export a checkpoint for another runtime: `export("runs/flowers", "flowers.onnx")`.

    The exported model takes images (B, C, H, W) that are resized to the size of the checkpoint's preprocessing,
    normalises them, and returns what the task decodes to: calibrated probabilities, numbers in their unit, or a vector.
    Class names, preprocessing, task and licence are stored inside, see `export_facts`. It is run by its own runtime and
    compared with PyTorch on image files before it appears under its name.

    Args:
        checkpoint: a checkpoint, or what `load` takes.
        out: file to write; of the format "web" a folder.
        format: "onnx", "openvino", "torch", "executorch" or "web"; by default that of the suffix of `out`.
        images: image files to compare on; by default generated ones (odd sizes, grey, CMYK, rotated, black).
        half: store the weights in float16, in half the size ("onnx", "openvino", "web").
        image_size: side, or (height, width), other than that of the checkpoint.
        any_size: the model takes images of any height and width, if its layers can.
        values: of the images: "uint8", or "float32" on the scale where a uint8 image is 0 to 1; "auto" is uint8,
            unless mean and deviation of the checkpoint are those of other values.
        runtime: folder of an unpacked onnxruntime-web, for "web".
        say: receives messages of `load`.

    Raises:
        VitrailError: the model or its task cannot be exported, a package is missing, `out` is a file that is not an
            export, or the exported model differs from PyTorch; then nothing is written.
    """
    target, kind = _target(Path(out), format)
    if half and not kind.halves:
        raise VitrailError(f"{kind.name} stores weights in float32 only: leave half out")
    kind.require()
    found = _loaded(checkpoint, image_size, say)
    served = ServedModel(found, _dtype(values, found))
    example = served.example(2 if kind.any_batch else 1)
    program = to_program(served, example, any_batch=kind.any_batch, any_size=any_size)
    folder = None if runtime is None else Path(runtime)
    job = Job(program, _output_names(served, example), export_facts(found, served), half=half, runtime=folder)
    fitted = fitted_images(images, found.preprocess, served.dtype)

    sizes = [fitted]
    if any_size:
        height, width = found.preprocess.image_size
        larger = replace(found.preprocess, image_size=(height * 3 // 2, width * 2))
        sizes.append(fitted_images(images, larger, served.dtype))

    def compare(path: Path) -> float:
        run = kind.open(path)
        return max(largest_difference(run, served, found, each) for each in sizes)

    return _written(kind, job, target, compare, _TOLERANCE_OF_HALF if half else _TOLERANCE, len(fitted))


def _output_names(served: ServedModel, example: Tensor) -> tuple[str, ...]:
    """Names of the outputs: that of the task, with a number if there are several."""
    with torch.inference_mode():
        count = len(tensors(served(example)))
    name = served.task.decoded_name
    return (name,) if count == 1 else tuple(f"{name}_{index}" for index in range(count))


def _target(out: Path, name: str | None) -> tuple[Path, ExportFormat]:
    """The file to write, with its suffix, and the format."""
    if name is None:
        made = [export_format(each) for each in FORMATS]
        kind = next((each for each in made if each.suffix and each.suffix == out.suffix), None)
        if kind is None:
            listed = ", ".join(f"{each.suffix or 'a folder'} ({each.name})" for each in made)
            raise VitrailError(f"{out} has no suffix of a format: use one of {listed}, or --format")
    else:
        kind = export_format(name)
    if kind.suffix and out.suffix != kind.suffix:
        out = out.with_name(out.name + kind.suffix)
    if not out.name:
        raise VitrailError(f"{out} is no name of a file: give one to write")
    _refuse_strangers(kind, out)
    return out, kind


def _refuse_strangers(kind: ExportFormat, out: Path) -> None:
    """Raise VitrailError if files of this name exist and are not those of an earlier export."""
    existing = [out.with_name(name) for name in kind.files(out.name) if out.with_name(name).exists()]
    if not existing:
        return
    marked = out.with_name(kind.files(out.name)[-1])
    holder = marked / "index.html" if not kind.suffix else marked
    if not (holder.is_file() and _has_mark(holder)) and not (out.is_dir() and not any(out.iterdir())):
        raise VitrailError(f"{existing[0]} exists and is not an export: choose another name, or remove it")


def _has_mark(file: Path) -> bool:
    with file.open("rb") as opened:
        if not os.fstat(opened.fileno()).st_size:
            return False
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(MARK.encode()) >= 0


def _loaded(given: CheckpointLike, image_size: int | tuple[int, int] | None, say: Say) -> Checkpoint:
    if isinstance(given, Checkpoint):
        if image_size is not None:
            raise VitrailError(
                "image_size is for checkpoints on disk: load this one with vitrail.load(…, image_size=…)"
            )
        return given
    path = os.fspath(given)
    return load(path, say=say) if image_size is None else load(path, say=say, image_size=image_size)


def _dtype(values: Values, checkpoint: Checkpoint) -> torch.dtype:
    if values == "auto":
        return torch.uint8 if checkpoint.preprocess.is_of_unit_range else torch.float32
    return torch.uint8 if values == "uint8" else torch.float32


def _written(
    kind: ExportFormat, job: Job, target: Path, compare: Callable[[Path], float], tolerance: float, images: int
) -> Exported:
    """Write to a folder beside the target, compare, and rename: after a failure nothing has changed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        kind.write(job, staging / target.name)
        apart = compare(staging / target.name)
        if not apart <= tolerance:
            raise VitrailError(
                f"the exported model differs from PyTorch by {apart:.1e}, more than {tolerance:g}: nothing was "
                "written; use another format, or leave --half out"
            )
        made = [staging / name for name in kind.files(target.name)]
        size = sum(_synced(file) for path in made for file in (path, *path.rglob("*")) if file.is_file())
        for path in made:
            final = target.with_name(path.name)
            if final.is_dir():
                final.rename(staging / f"{path.name}.old")
            os.replace(path, final)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Exported(path=target, size=size, images=images, difference=apart, tolerance=tolerance)


def _synced(file: Path) -> int:
    """Make sure that a file is on the disk, and return its size."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())
        return os.fstat(opened.fileno()).st_size
