"""Open and decode every file once, before anything is learned from it."""

import csv
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from ..errors import VitrailError
from ..progress import Track, silent
from ..task_spec import CLASSIFICATION
from .decode import BadImage, decode
from .facts_cache import Facts, FactsCache, digest, key
from .places import cache_folder
from .samples import BadFile, Sample, Source

__all__ = ["Facts", "Survey", "survey", "write_bad_files"]

_CHUNK = 32  # files a task: small enough for progress, large enough that handing out work costs nothing
_NAMED_BAD_FILES = 10


@dataclass(frozen=True, slots=True)
class Survey:
    """A source whose every file has been decoded once.

    Attributes:
        source: the good samples only, in the order of the source.
        facts: of each of them.
        bad: every file that cannot be used, with the reason; those the source itself found come first.
    """

    source: Source
    facts: tuple[Facts, ...]
    bad: tuple[BadFile, ...]

    @property
    def median_size(self) -> tuple[int, int]:
        """(height, width), the median of each."""
        self._require_images()
        height, width = (median(getattr(facts, side) for facts in self.facts) for side in ("height", "width"))
        return round(height), round(width)

    @property
    def channels(self) -> int:
        """The channel count to train with: 1 if every image is grey, 3 for colour and mixes, n for n
        bands."""
        self._require_images()
        counts = Counter(facts.channels for facts in self.facts)
        if len(counts) == 1:
            return next(iter(counts))
        if set(counts) == {1, 3}:
            return 3
        first = {
            facts.channels: s.name for s, facts in reversed(list(zip(self.source.samples, self.facts, strict=True)))
        }
        kinds = ", ".join(f"{counts[n]} with {n} (such as {first[n]})" for n in sorted(counts))
        raise VitrailError(f"the images of {self.source.name} differ in channels: {kinds}; keep one kind")

    @property
    def class_counts(self) -> tuple[int, ...]:
        """How many images show each class, aligned with `class_names`."""
        counts = Counter(label for sample in self.source.samples for label in sample.labels)
        return tuple(counts[i] for i in range(len(self.source.class_names)))

    @property
    def duplicates(self) -> int:
        """How many files repeat the exact bytes of another one."""
        return len(self.facts) - len({facts.digest for facts in self.facts})

    @property
    def conflicts(self) -> tuple[tuple[Sample, ...], ...]:
        """Groups of exact duplicates whose labels differ: at most one label of each can be right."""
        return tuple(
            group for group in self.by_digest().values() if len({frozenset(sample.labels) for sample in group}) > 1
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about what can be trained on but should be known."""
        names = self.source.class_names
        lines = []
        if conflicts := self.conflicts:
            pair = [f"{s.name} ({', '.join(names[i] for i in s.labels) or 'no class'})" for s in conflicts[0]]
            more = f", and {len(conflicts) - 1} more such groups" if len(conflicts) > 1 else ""
            lines.append(f"the same picture with different labels: {' = '.join(pair)}{more}")
        alone = [name for name, count in zip(names, self.class_counts, strict=True) if count == 1]
        if alone:
            lines.append(f"only one image of {_some(alone)}: it is trained on, but never checked")
        return tuple(lines)

    def by_digest(self) -> dict[str, tuple[Sample, ...]]:
        """The samples of each content, in the order of the source."""
        groups = defaultdict(list)
        for sample, facts in zip(self.source.samples, self.facts, strict=True):
            groups[facts.digest].append(sample)
        return {content: tuple(group) for content, group in groups.items()}

    def require_clean(self, *, skip_bad: bool) -> None:
        """Stop at bad files, naming the first ones and all reasons, unless they are to be skipped."""
        if not self.bad or (skip_bad and self.source.samples):
            return
        shown = [f"  {bad.name}: {bad.reason}" for bad in self.bad[:_NAMED_BAD_FILES]]
        if len(self.bad) > len(shown):
            counts = Counter(bad.reason.split(" (")[0].split(":")[0] for bad in self.bad)
            shown.append(f"  and {len(self.bad) - len(shown)} more; in all: " + ", ".join(
                f"{count} × {reason}" for reason, count in counts.most_common()
            ))  # fmt: skip
        if not self.source.samples:
            way_out = "no image of the source is good"
        else:
            way_out = "mend or remove them, or add --skip-bad to go on without them and have them in bad_files.csv"
        raise VitrailError(f"{len(self.bad)} bad files in {self.source.name}:\n" + "\n".join([*shown, way_out]))

    def require_trainable(self) -> None:
        """Stop at what cannot be learned from: one class, one image, no class with two images."""
        name, classes = self.source.name, self.source.class_names
        counts = dict(zip(classes, self.class_counts, strict=True))
        if len(self.source.samples) < 2:
            count = "only one good image" if self.source.samples else "no good image"
            raise VitrailError(f"{name} holds {count}: at least two of each class are needed")
        if self.source.task == CLASSIFICATION and len(classes) < 2:
            raise VitrailError(
                f"{name} has only one class, {classes[0]!r}: there is nothing to tell apart, add another"
            )
        if empty := [label for label, count in counts.items() if count == 0]:
            raise VitrailError(f"{name} has no good image of {_some(empty)}: add some, or remove the class")
        if max(counts.values()) < 2:
            raise VitrailError(f"{name} has one image of each class: add at least a second one, to check with")

    def _require_images(self) -> None:
        if not self.facts:
            raise VitrailError(f"{self.source.name} holds no good image")


def survey(source: Source, *, cache: Path | None = None, progress: Track = silent) -> Survey:
    """Decode every sample of `source` once, in threads; what is known from last time is not opened again.

    Args:
        cache: the folder that remembers facts by path, size and mtime_ns; `cache_folder()` if None.
        progress: told of each file.
    """
    remembered = FactsCache(cache or cache_folder())
    keys = [_key(sample) for sample in source.samples]
    known = remembered.get([stamp for stamp in keys if stamp])
    found: dict[int, Facts | BadFile] = {i: known[stamp] for i, stamp in enumerate(keys) if stamp in known}
    fresh = [i for i in range(len(keys)) if i not in found]
    try:
        results = _inspect_all([source.samples[i] for i in fresh])
        for i, outcome in zip(fresh, progress(results, len(fresh), "survey"), strict=True):
            found[i] = outcome
    finally:  # also when the user stops it half-way
        pairs = ((keys[i], found.get(i)) for i in fresh)
        remembered.put((stamp, facts) for stamp, facts in pairs if stamp and isinstance(facts, Facts))
    outcomes = [found[i] for i in range(len(keys))]
    good = [(s, facts) for s, facts in zip(source.samples, outcomes, strict=True) if isinstance(facts, Facts)]
    bad = (*source.bad, *(outcome for outcome in outcomes if isinstance(outcome, BadFile)))
    samples, facts = zip(*good, strict=True) if good else ((), ())
    return Survey(replace(source, samples=samples, bad=()), facts, bad)


def write_bad_files(path: Path, bad: Sequence[BadFile]) -> None:
    """The table of bad files: path, reason."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "reason"))
        writer.writerows((entry.name, entry.reason) for entry in bad)


def _key(sample: Sample) -> bytes | None:
    try:
        stamp = sample.location.stamp()
    except OSError:  # a link to nowhere, say: opening it will tell
        return None
    return key(stamp) if stamp else None


def _inspect_all(samples: list[Sample]) -> Iterator[Facts | BadFile]:
    """In the order of `samples`. Threads, because reading and Pillow's decoders release the lock."""
    chunks = [samples[start : start + _CHUNK] for start in range(0, len(samples), _CHUNK)]
    with ThreadPoolExecutor(max_workers=_cores()) as pool:
        try:
            for outcomes in pool.map(_inspect_chunk, chunks):
                yield from outcomes
        finally:
            pool.shutdown(cancel_futures=True)


def _inspect_chunk(samples: list[Sample]) -> list[Facts | BadFile]:
    return [_inspect(sample) for sample in samples]


def _inspect(sample: Sample) -> Facts | BadFile:
    try:
        data = sample.location.read()
        channels, height, width = decode(data, name=sample.name).shape
    except BadImage as error:
        return BadFile(sample.name, error.reason)
    except OSError as error:
        return BadFile(sample.name, error.strerror or str(error))
    return Facts(height, width, channels, digest(data))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _some(names: Sequence[str]) -> str:
    """The first few of many names."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
