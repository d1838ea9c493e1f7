"""Batches in an order, with an augmentation, that depend on nothing but (seed, epoch, index)."""

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .preprocess import Preprocess
from .seeds import derive, permutation, seed_cpu

Read = Callable[[int], Tensor]
"""Index of a sample -> image (C, H, W)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from.

    Attributes:
        pixels: (B, C, H, W), normalised float32.
        targets: (B, K) float32; one-hot for single-label classes, any number of ones for multi-label.
        indices: which samples, so that an error can name their files.
    """

    pixels: Tensor
    targets: Tensor
    indices: list[int]


class TrainLoader:
    """Training batches, epoch after epoch.

    Sample i of epoch e is augmented from (seed, e, i), whoever reads it: the main process or any number of workers.
    An incomplete last batch is left out, except where it is the only one.
    """

    def __init__(
        self,
        read: Read,
        targets: Tensor,
        transform: Callable[[Tensor], Tensor],
        preprocess: Preprocess,
        *,
        batch_size: int,
        seed: int,
        workers: int = 0,
    ) -> None:
        self.images = _Images(read, transform, seed)
        self.targets = targets
        self.preprocess = preprocess
        self.batch_size = min(batch_size, len(targets))
        self.seed = seed
        self.workers = workers

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.targets) // self.batch_size

    def order(self, epoch: int) -> list[list[int]]:
        """Which samples each batch of the epoch holds."""
        order = permutation(len(self.targets), derive(self.seed, "order", epoch))
        return [
            order[start : start + self.batch_size] for start in range(0, len(self) * self.batch_size, self.batch_size)
        ]

    def batches(self, first: int = 0) -> Iterator[Batch]:
        """All batches of a run from number `first` on, epoch after epoch, without end."""
        for images, indices in _load(self.images, self._rows(first), self.workers):
            yield Batch(self.preprocess.normalise(images), self.targets[indices], indices)

    def _rows(self, first: int) -> Iterator[list[tuple[int, int]]]:
        epoch, start = divmod(first, len(self))
        while True:
            for batch in self.order(epoch)[start:]:
                yield [(epoch, index) for index in batch]
            epoch, start = epoch + 1, 0


class EvalLoader:
    """Each sample once, in order, as the model will see it in use; `read` gives fitted images."""

    def __init__(self, read: Read, count: int, preprocess: Preprocess, *, batch_size: int, workers: int = 0) -> None:
        self.images = _Images(read, _as_it_is, seed=0)
        self.count = count
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.workers = workers

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        """Pixels (B, C, H, W), batch after batch."""
        starts = range(0, self.count, self.batch_size)
        rows = [[(0, index) for index in range(start, min(start + self.batch_size, self.count))] for start in starts]
        for images, _ in _load(self.images, rows, self.workers):
            yield self.preprocess.normalise(images)


class _Images(Dataset):
    """(epoch, index) -> image and index."""

    def __init__(self, read: Read, transform: Callable[[Tensor], Tensor], seed: int) -> None:
        self.read = read
        self.transform = transform
        self.seed = seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, index = key
        image = self.read(index)
        seed_cpu(derive(self.seed, "augment", epoch, index))
        return self.transform(image), index


def _load(images: _Images, rows: Iterable[list[tuple[int, int]]], workers: int) -> Iterator[tuple[Tensor, list[int]]]:
    if workers == 0:
        return (_stack([images[key] for key in row]) for row in rows)
    return iter(
        DataLoader(
            images,
            batch_sampler=rows,
            num_workers=workers,
            collate_fn=_stack,
            prefetch_factor=2,
            worker_init_fn=_settle_worker,
        )
    )


def _as_it_is(image: Tensor) -> Tensor:
    return image


def _settle_worker(worker: int) -> None:
    torch.set_num_threads(1)
    # Ctrl-C reaches the whole group; the main process saves and then ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _stack(items: Sequence[tuple[Tensor, int]]) -> tuple[Any, list[int]]:
    images, indices = zip(*items, strict=True)
    return torch.stack(images), list(indices)
