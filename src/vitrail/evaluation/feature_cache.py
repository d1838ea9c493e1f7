"""Features of images, computed once by a frozen model and kept in the user's cache folder."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load, save
from torch import Tensor

from ..checkpoint.native import tensors_digest
from ..data.facts_cache import RULES
from ..data.open import BadImage, Sample
from ..data.user_folders import cache_folder
from ..engines.predictor import Predictor
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel
from ..progress import Track, silent
from ..tables import complete_file
from .stream import stream

VERSION = 2
"""Increased if features are computed in another way, so that older entries are not used."""

MOST_BYTES = 2 * 2**30
"""Bytes of the cache; the entries that were used least recently are removed."""

_VECTORS = "vectors"


def cached_features(
    predictor: Predictor,
    samples: Sequence[Sample],
    digests: Sequence[str],
    model: str,
    *,
    cache: Path | None = None,
    progress: Track = silent,
) -> Float[Tensor, "n D"]:
    """Features of samples, float32: from the cache if the same were computed before.

    Args:
        predictor: its engine runs a module pixels -> features (B, D).
        samples: samples that can be read.
        digests: digest of the content of each.
        model: identity of that module, see `model_identity`.
        cache: folder of the entries; None: `features` in the user's cache folder.
        progress: counts the images that are run through the model.

    Raises:
        BadImage: a sample cannot be read any more.
    """
    entry = _Entry.of(predictor, digests, model, cache or cache_folder() / "features")
    found = entry.read(len(samples))
    if found is not None:
        return found
    parts: list[Tensor] = []
    for part in stream(predictor, samples, progress=progress):
        for sample, error in zip(part.samples, part.errors, strict=True):
            if error is not None:
                raise BadImage(sample.name, error)
        if part.output is not None:
            parts.append(part.output)
    vectors = torch.cat(parts)
    entry.write(vectors)
    return vectors


def model_identity(model: BaseVisionModel[ModelConfig], part: str = "", without: Sequence[str] = ()) -> str:
    """Text that differs for models that give different features.

    Args:
        part: which of the model's features they are.
        without: names of modules that the features do not depend on.
    """
    outside = tuple(f"{name}." for name in without)
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(outside)}
    return f"{model.config!r}|{model.rewrites!r}|{tensors_digest(state)}|{part}"


class _Entry:
    """A file of the cache.

    Files that cannot be read or written, or are damaged, are ignored.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, predictor: Predictor, digests: Sequence[str], model: str, folder: Path) -> "_Entry":
        """The entry of these images; the last digits depend on precision, device and batch size."""
        engine = predictor.engine
        settings = {
            "version": VERSION,
            "decoding": RULES,
            "model": model,
            "preprocess": predictor.preprocess.to_dict(),
            "precision": str(engine.precision),
            "device": engine.device.type,
            "batch_size": predictor.batch_size,
            "images": list(digests),
        }
        name = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16).hexdigest()
        return cls(folder / f"{name}.features")

    def read(self, count: int) -> Float[Tensor, "n D"] | None:
        """The features, if they are there for so many images."""
        try:
            content = self.path.read_bytes()
            if content[:_SUM] != _checksum(content[_SUM:]):
                return None
            os.utime(self.path)  # used now
        except OSError:
            return None
        vectors = load(content[_SUM:])[_VECTORS]
        return vectors if len(vectors) == count else None

    def write(self, vectors: Float[Tensor, "n D"]) -> None:
        """Store features, and remove old entries if there are too many."""
        content = save({_VECTORS: vectors.contiguous()})
        if len(content) > MOST_BYTES // 2:
            return
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _make_room(self.path.parent, len(content))
            with complete_file(self.path, mode="wb") as file:
                file.write(_checksum(content) + content)


_SUM = 16


def _checksum(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_SUM).digest()


def _make_room(folder: Path, size: int) -> None:
    """Remove the files that were used least recently, until `size` bytes fit; parts of killed processes too."""
    files = sorted(((file.stat().st_mtime, file.stat().st_size, file) for file in folder.iterdir()), reverse=True)
    total = size
    for _, length, file in files:
        total += length
        if total > MOST_BYTES:
            file.unlink(missing_ok=True)
