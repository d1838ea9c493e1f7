"""Embeddings of images, in memory or as files."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..checkpoint.contract import Checkpoint, CheckpointLike, as_checkpoint, path_of
from ..checkpoint.native import tensors_digest
from ..data.bad_files import none_readable
from ..data.open import BadFile, Sample, SourceLike
from ..data.split_choice import SplitChoice
from ..engines.predictor import Predictor
from ..engines.setting import Running, engine_for
from ..errors import VitrailError
from ..machine.devices import precision_name
from ..progress import Track, silent
from ..tasks.embedding import Embedding
from .embedding_files import Rows, check_target, write_rows
from .embedding_parts import write_parts
from .predict import NamedImages, Spec, named_images
from .stream import stream

IMAGES_PER_PART = 4096
DECODING_RULES = 2
"""Increased if images are decoded or resized in another way, so that a folder is not continued with other vectors."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A vector for each image.

    Attributes:
        vectors: (n, D) float32, not normalised; NaN for an image that could not be read.
        paths: paths as the user gave them, or relative to the given folder.
        errors: why an image could not be read, or None.
    """

    vectors: Float[Tensor, "n D"]
    paths: tuple[str, ...]
    errors: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """Summary of written embeddings: number of images, number of unreadable ones, and width of a vector."""

    images: int
    failed: int
    width: int


def embed(
    checkpoint: CheckpointLike,
    sources: SourceLike | Sequence[SourceLike],
    *,
    split: SplitChoice = "all",
    limit: int | None = None,
    strict: bool = True,
    batch_size: int = 32,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    progress: Track = silent,
) -> Embeddings:
    """Compute the pooled vector before the head for every image: `embed("runs/flowers", "garden/").vectors`.

    Args:
        checkpoint: any checkpoint of a model for images, or what `load` takes. The vector is its `embed_images`.
        sources: images, folders of them at any depth, globs, tables, shards, a named set, a `Source` or a torch
            Dataset.
        split: the part of each source, see `choose_split`.
        limit: stop after this many images.
        strict: False also embeds damaged files that can still be decoded, such as JPEGs of which a part is grey.
        batch_size, engine, device, precision: see `make_predictor`.
        progress: reports the number of images done.

    Raises:
        VitrailError: no image is found or can be read, a name is unknown, or the model does not take images.
    """
    named, _, running = _opened(checkpoint, sources, split, limit, strict, engine, device, precision)
    predictor = _predictor(running, batch_size)
    width = vector_width(predictor)
    rows = list(some_readable(_rows(predictor, named.entries, width, progress=progress)))
    return Embeddings(
        vectors=torch.cat([part.vectors for part in rows]),
        paths=tuple(path for part in rows for path in part.paths),
        errors=tuple(error for part in rows for error in part.errors),
    )


def write_embeddings(
    checkpoint: CheckpointLike,
    sources: SourceLike | Sequence[SourceLike],
    out: Spec,
    *,
    split: SplitChoice = "all",
    limit: int | None = None,
    strict: bool = True,
    batch_size: int = 32,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    images_per_part: int = IMAGES_PER_PART,
    progress: Track = silent,
) -> Written:
    """Embed any number of images in bounded memory.

    The suffix of `out` selects the format: `.npz` (arrays vectors, paths, errors), `.parquet` (columns path,
    vector, error), `.csv` (path, v1 ... vD, error). Without a suffix it is a folder of `.npz` parts with a manifest,
    which an interrupted run continues; see `write_parts`. A file appears under its name when it is complete.

    Args:
        checkpoint, sources, split, limit, strict, batch_size, engine, device, precision, progress: see `embed`.
        out: file or folder to write.
        images_per_part: number of images in a part of a folder.

    Raises:
        VitrailError: see `embed`; unknown suffix, a folder of other files, or of embeddings with another model, other
        settings or other images.
    """
    target = Path(out)
    check_target(target)
    if images_per_part < 1:
        raise VitrailError(f"{images_per_part} images per part are not possible: use 1 or more")
    named, found, running = _opened(checkpoint, sources, split, limit, strict, engine, device, precision)
    predictor = _predictor(running, batch_size)
    entries, width = named.entries, vector_width(predictor)
    paths = [entry.name for entry in entries]
    if target.suffix:
        failed = write_rows(some_readable(_rows(predictor, entries, width, progress=progress)), paths, width, target)
        return Written(len(entries), failed, width)
    failed = write_parts(
        target,
        paths,
        lambda start, stop: _rows(predictor, entries[start:stop], width),
        _facts(found, running, predictor, width, strict),
        images_per_part=images_per_part,
        progress=progress,
    )
    return Written(len(entries), failed, width)


def _facts(checkpoint: Checkpoint, running: Running, predictor: Predictor, width: int, strict: bool) -> dict[str, Any]:
    """What vectors depend on besides the images: a folder is only continued with the same."""
    model = checkpoint.model
    return {
        "model": tensors_digest(model.state_dict()),
        "config": repr(model.config),
        # Rewrites that reduce the tokens have no tensors. Folders of models without any are as in earlier versions.
        **({"rewrites": repr(model.rewrites)} if model.rewrites else {}),
        "preprocess": checkpoint.preprocess.to_dict(),
        "engine": running.way,
        "precision": precision_name(predictor.engine.precision),
        "width": width,
        "decoding": DECODING_RULES,
        **({} if strict else {"strict": strict}),
    }


def vector_width(predictor: Predictor) -> int:
    """Width D of the vectors, found with one black image.

    Raises:
        VitrailError: the model does not give one vector for each image.
    """
    black = torch.zeros(1, *predictor.preprocess.fitted_shape, dtype=torch.uint8)
    (output,) = predictor.outputs([black])
    if not isinstance(output, Tensor) or output.ndim != 2:
        raise VitrailError("this model does not give one vector for each image: choose another checkpoint")
    return output.shape[1]


def _opened(
    checkpoint: CheckpointLike,
    sources: SourceLike | Sequence[SourceLike],
    split: SplitChoice,
    limit: int | None,
    strict: bool,
    engine: str,
    device: str,
    precision: str,
) -> tuple[NamedImages, Checkpoint, Running]:
    found = as_checkpoint(checkpoint)
    clips, run = found.preprocess.frames is not None, path_of(checkpoint)
    named = named_images(sources, limit, split=split, run=run, strict=strict, clips=clips)
    return named, found, engine_for(found, engine=engine, device=device, precision=precision, vectors=True)


def _predictor(running: Running, batch_size: int) -> Predictor:
    return Predictor(running.engine, running.preprocess, Embedding(), (), batch_size=batch_size)


def _rows(
    predictor: Predictor, entries: Sequence[Sample | BadFile], width: int, *, progress: Track = silent
) -> Iterator[Rows]:
    """Vectors of consecutive entries, in order; bad files come last."""
    samples = [entry for entry in entries if isinstance(entry, Sample)]
    bad = [entry for entry in entries if isinstance(entry, BadFile)]
    for part in stream(predictor, samples, progress=progress):
        vectors = torch.full((len(part.samples), width), torch.nan)
        if part.output is not None:
            vectors[torch.tensor([error is None for error in part.errors])] = part.output
        yield Rows(tuple(sample.name for sample in part.samples), vectors, part.errors)
    if bad:
        errors = tuple(file.reason for file in bad)
        yield Rows(tuple(file.name for file in bad), torch.full((len(bad), width), torch.nan), errors)


def some_readable(rows: Iterable[Rows]) -> Iterator[Rows]:
    """Yield the same rows, and raise BadFiles at the end if no image could be read."""
    bad: list[BadFile] = []
    worked = False
    for part in rows:
        worked = worked or None in part.errors
        if not worked:
            bad += [BadFile(path, error or "") for path, error in zip(part.paths, part.errors, strict=True)]
        yield part
    if bad and not worked:
        raise none_readable(bad)
