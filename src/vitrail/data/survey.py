"""Survey of a source before training: every file is decoded once for its size, channels and content hash."""

import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from ..errors import VitrailError
from ..machine.facts import usable_cores
from ..progress import Track, silent
from ..tables import write_csv
from .bad_files import BadFiles, bad_file_count
from .clips import inspect_clip
from .decode import BadImage, decode
from .facts_cache import Facts, FactsCache, digest, key
from .open import read_bytes
from .samples import BadFile, Sample, Source, takes_many
from .seeds import permutation
from .user_folders import cache_folder

__all__ = ["Facts", "Limit", "Survey", "survey", "write_conflicts"]

_CHUNK = 32  # files per task: small enough for progress, large enough for little overhead
_FEWEST = 256
"""Images that a survey with a time limit decodes in any case."""
_OF_EACH_CLASS = 20


_NO_CLASS = ("images", "image", "imgs", "img", "jpegimages", "photos", "pictures", "masks")
"""Names of folders, in lower case, that are seldom those of a class."""


@dataclass(frozen=True, slots=True)
class Survey:
    """A source with facts about each file.

    Attributes:
        source: the good samples only, in the order of the source.
        facts: facts of each sample.
        bad: all files that cannot be used, with the reason; those that the source found come first.
        total: number of images of the source, if only a sample of them was decoded; None: all were.
        read: number of images that were decoded, bad ones included.
    """

    source: Source
    facts: tuple[Facts, ...]
    bad: tuple[BadFile, ...]
    total: int | None = None
    read: int = 0

    @property
    def median_size(self) -> tuple[int, int]:
        """Median height and median width, in pixels."""
        self.require_images(1)
        height, width = (median(getattr(facts, side) for facts in self.facts) for side in ("height", "width"))
        return round(height), round(width)

    @property
    def channels(self) -> int:
        """Number of channels to train with: 1 if every image is grey, 3 for colour and mixes, n for n bands."""
        self.require_images(1)
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
        """Number of images of each class, aligned with `class_names`; empty if labels are no classes.

        Of boxes, the number of objects of each class.
        """
        kind, samples = self.source.label_kind, self.source.samples
        if kind not in ("classes", "boxes"):
            return ()
        labels = (label for sample in samples for label in sample.labels)
        counts = Counter(label.label if kind == "boxes" else label for label in labels)
        return tuple(counts[i] for i in range(len(self.source.class_names)))

    @property
    def duplicates(self) -> int:
        """Number of files with exactly the bytes of another one."""
        return len(self.facts) - len({facts.digest for facts in self.facts})

    @property
    def conflicts(self) -> tuple[tuple[Sample, ...], ...]:
        """Groups of exact duplicates with different labels, of which at most one can be right."""
        return tuple(
            group for group in self.by_digest().values() if len({frozenset(sample.labels) for sample in group}) > 1
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about problems that do not prevent training."""
        names = self.source.class_names
        lines = []
        if self.total is not None:
            lines.append(
                f"{self.read:,} of {self.total:,} images are used, drawn at random: there is no time to "
                "read more; give more minutes, or epochs instead of minutes, to use all"
            )
        if conflicts := self.conflicts:
            pair = [f"{s.name} ({self.source.describe(s.labels)})" for s in conflicts[0]]
            rest = len(conflicts) - 1
            more = f", and {rest} more such group{'s' * (rest > 1)}" if rest else ""
            lines.append(f"the same image with different labels: {' = '.join(pair)}{more}")
        alone = [name for name, count in zip(names, self.class_counts, strict=False) if count == 1]
        if alone:
            thing = "object" if self.source.label_kind == "boxes" else "image"
            lines.append(f"only one {thing} of {_some(alone)}: it is trained on, but never checked")
        return tuple(lines)

    def by_digest(self) -> dict[str, tuple[Sample, ...]]:
        """Content hash -> samples, in the order of the source."""
        groups = defaultdict(list)
        for sample, facts in zip(self.source.samples, self.facts, strict=True):
            groups[facts.digest].append(sample)
        return {content: tuple(group) for content, group in groups.items()}

    def require_clean(self, *, skip_bad: bool) -> None:
        """Raise `BadFiles` if there are bad files, unless they are to be skipped."""
        if not self.bad or (skip_bad and self.source.samples):
            return
        if not self.source.samples:
            way_out = "no image of the source is good"
        else:
            way_out = "mend or remove them, or add --skip-bad to go on without them"
        name = self.source.name
        raise BadFiles(f"{bad_file_count(len(self.bad))} in {name}", self.bad, way_out, name)

    def require_trainable(self) -> None:
        """Raise unless there are two images and, for classification, two classes."""
        self.require_images(2)
        if self.source.label_kind == "classes":
            self.require_classes()

    def require_images(self, least: int) -> None:
        """Raise unless at least so many images are good."""
        if (found := len(self.source.samples)) < least:
            count = f"only {'one' if found == 1 else found} good image{'s' * (found > 1)}" if found else "no good image"
            needed = {1: "at least one is", 2: "at least two are"}.get(least, f"at least {least} are")
            raise VitrailError(f"{self.source.name} has {count}: {needed} needed")

    def require_classes(self) -> None:
        """Raise at one class only, a class without an image, or one image of each class.

        A source without classes passes: it was opened without labels.
        """
        name, classes = self.source.name, self.source.class_names
        counts = dict(zip(classes, self.class_counts, strict=True))
        if not counts:
            return
        if not takes_many(self.source.task) and len(classes) < 2:
            labels = ", or name the table, or put masks/ or annotations beside them, if they have the labels"
            more = labels if classes[0].lower() in _NO_CLASS else ""
            raise VitrailError(f"{name} has only one class, {classes[0]!r}: add another class{more}")
        if empty := [label for label, count in counts.items() if count == 0]:
            raise VitrailError(f"{name} has no good image of {_some(empty)}: add some, or remove the class")
        if max(counts.values()) < 2:
            raise VitrailError(f"{name} has one image of each class: add at least a second one, to check with")


@dataclass(frozen=True, slots=True)
class Limit:
    """Limit of a survey, which then takes the images in a random order, a few of each class first.

    Attributes:
        seed: seed of the order.
        seconds: time after which no more images are decoded; None: no limit.
        images: number of images; None: no limit.
    """

    seed: int
    seconds: float | None = None
    images: int | None = None


def survey(
    source: Source, *, limit: Limit | None = None, cache: Path | None = None, progress: Track = silent
) -> Survey:
    """Decode every sample of a source once, in threads; files that have not changed since the last survey are skipped.

    Args:
        limit: decodes only a sample; None: all.
        cache: folder of the cache of facts by path, size and mtime_ns; `cache_folder()` if None.
        progress: reports each file.
    """
    order = _spread(source, limit.seed)[: limit.images] if limit else list(range(len(source.samples)))
    deadline = time.monotonic() + limit.seconds if limit and limit.seconds is not None else None
    remembered = FactsCache(cache or cache_folder())
    keys = [_key(sample) for sample in source.samples]
    known = remembered.get([stamp for stamp in keys if stamp])
    found: dict[int, Facts | BadFile] = {i: known[stamp] for i, stamp in enumerate(keys) if stamp in known}
    fresh = [i for i in order if i not in found]
    try:
        results = _inspect_all([source.samples[i] for i in fresh])
        for count, (i, outcome) in enumerate(zip(fresh, progress(results, len(fresh), "survey"), strict=False), 1):
            found[i] = outcome
            if deadline is not None and count >= _FEWEST and time.monotonic() > deadline:
                results.close()
                break
    finally:  # also if the user interrupts it
        pairs = ((keys[i], found.get(i)) for i in fresh)
        remembered.put((stamp, facts) for stamp, facts in pairs if stamp and isinstance(facts, Facts))
    read = sorted(itertools.takewhile(found.__contains__, order))  # what a survey of as many images would read
    outcomes = [(source.samples[i], found[i]) for i in read]
    good = [(sample, outcome) for sample, outcome in outcomes if isinstance(outcome, Facts)]
    bad = (*source.bad, *(outcome for _, outcome in outcomes if isinstance(outcome, BadFile)))
    samples, facts = zip(*good, strict=True) if good else ((), ())
    total = len(keys) if len(read) < len(keys) else None
    return Survey(replace(source, samples=samples, bad=()), facts, bad, total, len(read))


def _spread(source: Source, seed: int) -> list[int]:
    """A random order of the samples in which the first few of each class come before all others."""
    order = permutation(len(source.samples), seed)
    seen: Counter[tuple[float, ...]] = Counter()
    first: list[int] = []
    rest: list[int] = []
    for i in order:
        labels = source.samples[i].labels if source.label_kind == "classes" else ()
        seen[labels] += 1
        (first if seen[labels] <= _OF_EACH_CLASS else rest).append(i)
    return first + rest


def write_conflicts(path: Path, found: Survey) -> None:
    """Write the table of equal images with different labels, with the columns group (from 1), path and label."""
    rows = [
        (number, sample.name, found.source.describe(sample.labels))
        for number, group in enumerate(found.conflicts, start=1)
        for sample in group
    ]
    write_csv(path, [("group", "path", "label"), *rows])


def _key(sample: Sample) -> bytes | None:
    try:
        stamp = sample.location.stamp()
    except OSError:  # such as a broken link: the reason comes from opening it
        return None
    if stamp and sample.clip:
        stamp = f"{stamp}|clip"
    return key(stamp if sample.strict else f"{stamp}|damaged too") if stamp else None


def _inspect_all(samples: list[Sample]) -> Generator[Facts | BadFile, None, None]:
    """In the order of `samples`. Threads, because reading and Pillow's decoders release the lock."""
    chunks = [samples[start : start + _CHUNK] for start in range(0, len(samples), _CHUNK)]
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        try:
            for outcomes in pool.map(_inspect_chunk, chunks):
                yield from outcomes
        finally:
            pool.shutdown(cancel_futures=True)


def _inspect_chunk(samples: list[Sample]) -> list[Facts | BadFile]:
    return [_inspect(sample) for sample in samples]


def _inspect(sample: Sample) -> Facts | BadFile:
    try:
        data = read_bytes(sample)
        if sample.clip:
            frames, image = inspect_clip(data, name=sample.name, strict=sample.strict)
        else:
            frames, image = 1, decode(data, name=sample.name, strict=sample.strict)
    except BadImage as error:
        return BadFile(sample.name, error.reason)
    channels, height, width = image.shape
    return Facts(height, width, channels, digest(data), image.element_size(), frames)


def _some(names: Sequence[str]) -> str:
    """The first few of many names."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
