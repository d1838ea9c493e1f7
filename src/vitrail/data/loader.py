"""Loaders of batches, whose order and augmentation depend only on (seed, epoch, index)."""

import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing import Lock
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader, Dataset

from .decode import BadImage
from .decoding_limits import DECODING
from .order import weighted_order
from .preprocess import Preprocess
from .seeds import derive, permutation, seed_cpu
from .targets import Ragged, Targets

Read = Callable[[int], Tensor]
"""Index of a sample -> image (C, H, W)."""

Views = Callable[[Tensor, Any], tuple[Any, Any]]
"""(image, target) -> the views of a sample, a pytree of images, and their target.

It must be picklable for worker processes, so it cannot be a closure. Random numbers come from torch's CPU
generator, which the loader seeds for each sample.
"""


Before = Callable[[Tensor, int, int], Tensor]
"""(image, epoch, index) -> image, applied before the views, without random numbers; picklable too."""

Key = tuple[int, int, int]
"""(epoch, index, earlier occurrences of the sample in this epoch)."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A training batch.

    Attributes:
        pixels: (B, C, H, W), normalised float32; or a pytree of such tensors if a sample has several views.
        targets: tensor or pytree with first dimension B, from the task and the views: for classes (B, K) zeros and
            ones; None without labels.
        keys: (epoch, index, occurrence) of each sample, which determine how it was augmented.
    """

    pixels: Any
    targets: Any
    keys: Sequence[Key] = ()

    @property
    def indices(self) -> list[int]:
        """Indices of the samples, so that an error can name their files."""
        return [index for _, index, _ in self.keys]


@dataclass(frozen=True, slots=True)
class OneView:
    """Views of a sample: the transformed image, with its unchanged target."""

    transform: Callable[[Tensor], Tensor]

    def __call__(self, image: Tensor, target: Any) -> tuple[Tensor, Any]:
        return self.transform(image), target


class TrainLoader:
    """Loader of training batches for any number of epochs.

    Sample i of epoch e is augmented with the seed (seed, e, i), in the main process or in any worker; if an epoch has
    it several times, each is augmented differently. An incomplete last batch is left out, unless it is the only one.

    Args:
        read: index -> image.
        count: number of samples.
        targets: index -> target; None without labels.
        views: (image, target) -> views of the sample and target.
        preprocess: normalises the images.
        batch_size: samples per batch, limited to `count`.
        seed: seed of order and augmentation.
        workers: number of worker processes.
        before: (image, epoch, index) -> image, such as a flip that alternates; None: nothing.
        repeats: times that an epoch has each of its samples, one after the other (Hoffer et al., 2020).
        weights: (count,), expected number of times that an epoch has each sample, with mean 1; None: once each.
        cycle: number of epochs after which the augmentations, not the order, repeat; None: never.
    """

    def __init__(
        self,
        read: Read,
        count: int,
        targets: Targets | None,
        views: Views,
        preprocess: Preprocess,
        *,
        batch_size: int,
        seed: int,
        workers: int = 0,
        before: Before | None = None,
        repeats: int = 1,
        weights: Tensor | None = None,
        cycle: int | None = None,
    ) -> None:
        self.cycle = cycle
        self.images = _Images(read, views, seed, targets, before)
        self.repeats = repeats
        self.weights = weights
        self.count = count
        self.preprocess = preprocess
        self.batch_size = min(batch_size, count)
        self.seed = seed
        self.workers = workers

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return self.count // self.batch_size

    def order(self, epoch: int) -> list[list[int]]:
        """Indices of the samples in each batch of an epoch."""
        return [[index for _, index, _ in batch] for batch in self._keys(epoch)]

    def batches(self, first: int = 0) -> Iterator[Batch]:
        """Iterate over the batches of a run from number `first` on, without end."""
        yield from self._batches(self._rows(first))

    def once(self, epoch: int = 0) -> Iterator[Batch]:
        """Iterate over each sample once, in order, augmented as in `epoch`; the last batch may be smaller."""
        keys = [(epoch, index, 0) for index in range(self.count)]
        return self._batches(keys[start : start + self.batch_size] for start in range(0, self.count, self.batch_size))

    def views(self, index: int) -> Any:
        """The views of a sample as the first epoch has them, not normalised.

        Raises:
            BadImage: it cannot be read.
        """
        found = self.images[(0, index, 0)]
        if isinstance(found, _Failed):
            raise BadImage(found.name, found.reason)
        return found[0]

    def _batches(self, rows: Iterable[list[Key]]) -> Iterator[Batch]:
        for images, targets, keys in _load(self.images, rows, self.workers):
            yield Batch(tree_map(self.preprocess.normalise, images), targets, keys)

    def _rows(self, first: int) -> Iterator[list[Key]]:
        epoch, start = divmod(first, len(self))
        while True:
            yield from self._keys(epoch)[start:]
            epoch, start = epoch + 1, 0

    def _keys(self, epoch: int) -> list[list[Key]]:
        """Keys of the samples in each batch of an epoch."""
        if self.weights is None:
            order = permutation(self.count, derive(self.seed, "order", epoch))
        else:
            order = weighted_order(self.weights, self.seed, epoch)
        if self.repeats > 1:
            different = order[: -(-self.count // self.repeats)]
            order = [index for index in different for _ in range(self.repeats)][: self.count]
        once = self.weights is None and self.repeats == 1
        epoch = epoch % self.cycle if self.cycle else epoch
        keys = [(epoch, index, 0) for index in order] if once else _numbered(order, epoch)
        return [
            keys[start : start + self.batch_size] for start in range(0, len(self) * self.batch_size, self.batch_size)
        ]


class EvalLoader:
    """Loader of each sample once, in order, without augmentation; `read` returns resized images."""

    def __init__(self, read: Read, count: int, preprocess: Preprocess, *, batch_size: int, workers: int = 0) -> None:
        self.images = _Images(read, OneView(_as_it_is), 0, None, None)
        self.count = count
        self.preprocess = preprocess
        self.batch_size = batch_size
        self.workers = workers

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        """Iterate over batches of resized images (B, C, H, W), not normalised."""
        starts = range(0, self.count, self.batch_size)
        rows = [[(0, index, 0) for index in range(start, min(start + self.batch_size, self.count))] for start in starts]
        for images, _, _ in _load(self.images, rows, self.workers):
            yield images


class _Images(Dataset):
    """(epoch, index, occurrence) -> views of the image, its target, and the key."""

    def __init__(self, read: Read, views: Views, seed: int, targets: Targets | None, before: Before | None) -> None:
        self.read = read
        self.views = views
        self.seed = seed
        self.targets = targets
        self.before = before

    def __getitem__(self, key: Key) -> "tuple[Any, Any, Key] | _Failed":
        epoch, index, occurrence = key
        try:
            image = self.read(index)
            target = None if self.targets is None else self.targets(index)
        except BadImage as error:
            return _Failed(error.name, error.reason)
        if self.before is not None:
            image = self.before(image, epoch, index)
        again = (occurrence,) if occurrence else ()
        seed_cpu(derive(self.seed, "augment", epoch, index, *again))
        return *self.views(image, target), key


@dataclass(frozen=True, slots=True)
class _Failed:
    """An image that cannot be read, as a value: torch's loader would turn an error of a worker into a traceback."""

    name: str
    reason: str


def _load(images: _Images, rows: Iterable[list[Key]], workers: int) -> Iterator[tuple[Any, Any, list[Key]]]:
    for found in _stacks(images, rows, workers):
        if isinstance(found, _Failed):
            raise BadImage(found.name, found.reason)
        yield found


def _stacks(images: _Images, rows: Iterable[list[Key]], workers: int) -> Iterator[tuple[Any, Any, list[Key]] | _Failed]:
    if workers == 0:
        return (_stack([images[key] for key in row]) for row in rows)
    return iter(
        DataLoader(
            images,
            batch_sampler=rows,
            num_workers=workers,
            collate_fn=_stack,
            prefetch_factor=2,
            worker_init_fn=partial(_settle_worker, workers, Lock()),
        )
    )


def _numbered(order: Sequence[int], epoch: int) -> list[Key]:
    """Keys of samples in this order, with the number of earlier occurrences of each."""
    seen: Counter[int] = Counter()
    keys = []
    for index in order:
        keys.append((epoch, index, seen[index]))
        seen[index] += 1
    return keys


def _as_it_is(image: Tensor) -> Tensor:
    return image


def _settle_worker(workers: int, alone: AbstractContextManager[Any], worker: int) -> None:
    DECODING.share(workers, alone)
    torch.set_num_threads(1)
    # Ctrl-C and a closed terminal reach the whole process group; the main process saves and then ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):  # not on Windows
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the main process ends its workers by it, without a traceback


def _stack(items: Sequence[tuple[Any, Any, Key] | _Failed]) -> tuple[Any, Any, list[Key]] | _Failed:
    good = []
    for item in items:
        if isinstance(item, _Failed):
            return item
        good.append(item)
    images, targets, keys = zip(*good, strict=True)
    return stacked(images), stacked(targets), list(keys)


def stacked(trees: Sequence[Any]) -> Any:
    """Join the pytrees of samples to one pytree of tensors (B, ...); None leaves stay None."""
    return tree_map(lambda *leaves: _together(leaves), *trees)


def _together(leaves: Sequence[Any]) -> Any:
    first = leaves[0]
    if isinstance(first, Ragged):
        return type(first).batch(leaves)
    return None if first is None else torch.stack(list(leaves))
