"""Labelled images on which kNN measures a pre-training: recipe field `knn`."""

import hashlib
from dataclasses import dataclass

from torch import Tensor

from ..data.loader import EvalLoader
from ..data.preprocess import Preprocess
from ..errors import VitrailError
from .recipe import Recipe, chosen
from .training_data import SplitData, memory_for_images


@dataclass(frozen=True)
class KnnImages:
    """Images for kNN, of a labelled source whose test part is not touched.

    Attributes:
        name: the source as the user wrote it.
        names: names of its classes.
        memory: images of its training part, among which neighbours are searched.
        queries: images of its validation part, which are classified.
        targets: (n, K) of the memory, (m, K) of the queries: 1 for the class of an image.
    """

    name: str
    names: tuple[str, ...]
    memory: SplitData
    queries: SplitData
    targets: tuple[Tensor, Tensor]

    def __len__(self) -> int:
        return len(self.memory) + len(self.queries)

    @property
    def digest(self) -> str:
        """Digest of the contents and labels of all images, by which a resumed run recognises them."""
        total = hashlib.blake2b(digest_size=16)
        for part in (self.memory, self.queries):
            for sample, facts in zip(part.samples, part.facts, strict=True):
                total.update(f"{facts.digest}|{self.names[sample.labels[0]]}\n".encode(errors="surrogateescape"))
        return total.hexdigest()

    def require(self, digest: str | None) -> None:
        """Raise VitrailError unless these are the images that a run recorded."""
        if self.digest != digest:
            raise VitrailError(
                f"the images of {self.name} for kNN are not those of the run any more: restore them, or start a new run"
            )

    def loaders(self, preprocess: Preprocess, recipe: Recipe, batch_size: int) -> tuple[EvalLoader, EvalLoader]:
        """Loaders of the memory and of the queries, whose images are kept in memory if all fit."""
        workers = chosen(recipe.workers)
        memory = 0 if workers else memory_for_images() // 8
        found = [
            EvalLoader(
                part.fitted_reader(preprocess, memory), len(part), preprocess, batch_size=batch_size, workers=workers
            )
            for part in (self.memory, self.queries)
        ]
        return found[0], found[1]
