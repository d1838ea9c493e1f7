"""Train, validation and test splits of a source: its own, or made by content hash."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..errors import VitrailError
from .samples import Sample, Split
from .survey import Survey

Group = tuple[Sample, ...]
"""Samples with the same bytes."""

Classes = dict[str, frozenset[int]]
"""Content hash -> classes."""

_TINY = 1e-6
"""A part of an image that is an error of floating point, and not rounded up."""

ClassesOf = Callable[[Sample], Collection[int]]
"""Sample -> classes, by which splits are stratified."""


def label_classes(sample: Sample) -> Collection[int]:
    """Labels of a sample as its classes, for classification."""
    return sample.labels


def no_classes(sample: Sample) -> Collection[int]:
    """No classes, for numbers and for images without labels."""
    return ()


@dataclass(frozen=True, slots=True)
class Splits:
    """Splits of a source, each ordered by content hash, so that file names and their order have no effect.

    Attributes:
        train, val, test: the splits; test is empty if the source has its own val split but no test split.
        leaks: (train sample, held-out sample) pairs with the same bytes, in a source with its own splits.
        untrained: classes of objects that held-out images have, and no training image, in ascending order.
    """

    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    leaks: tuple[tuple[Sample, Sample], ...] = ()
    untrained: tuple[int, ...] = ()


def split(survey: Survey, *, val: float = 0.1, test: float = 0.1, classes_of: ClassesOf | None = None) -> Splits:
    """Split the training images of a source into the parts that it lacks.

    From a source with train and test, val is taken from train; with train and val there is no test part; without
    splits, both are taken. Images are ordered by content hash within their class, and each class contributes the same
    fraction: the result depends only on bytes and classes, exact duplicates stay together, and each class keeps at
    least one training image. An image with several classes counts for the rarest; images without a class are one more.

    Args:
        survey: the source with its content hashes; call `Survey.require_trainable` before.
        val: fraction for validation, of distinct images.
        test: fraction for testing.
        classes_of: classes of a sample; by default its labels if they are classes, and none if they are numbers.

    Raises:
        VitrailError: the fractions leave nothing to train on, the source has no train part, or a class of images
            occurs in held-out ones only. Rare classes of objects often do, and are `Splits.untrained`.
    """
    if min(val, test) < 0 or val + test >= 1:
        raise VitrailError(f"val={val} and test={test}: shares are at least 0 and leave something to train on")
    if classes_of is None:
        classes_of = label_classes if survey.source.label_kind == "classes" else no_classes
    given: dict[Split | None, list[tuple[str, Sample]]] = defaultdict(list)
    for sample, facts in zip(survey.source.samples, survey.facts, strict=True):
        given[sample.split].append((facts.digest, sample))
    pool = given["train"] + given[None]
    if not pool:
        survey.require_images(1)
        given_parts = [str(part) for part, samples in given.items() if samples]
        raise VitrailError(
            f"{survey.source.name} has no train split, only {', '.join(given_parts)}: name a training set"
        )
    cut_val = 0.0 if given["val"] else val
    cut_test = 0.0 if given["val"] or given["test"] else test
    groups = _groups(pool)
    parts = _cut({digest: _classes(group, classes_of) for digest, group in groups.items()}, cut_val, cut_test)
    held = {"val": given["val"], "test": given["test"]}
    for digest, part in parts.items():
        if part != "train":
            held[part] += [(digest, sample) for sample in groups[digest]]
    train = [(digest, sample) for digest, part in parts.items() if part == "train" for sample in groups[digest]]
    missing = _untrained(train, [*held["val"], *held["test"]], classes_of)
    if missing and survey.source.label_kind != "boxes":
        names = ", ".join(survey.source.class_names[label] for label in missing[:5])
        raise VitrailError(
            f"{survey.source.name} has images of {names} in val or test but none in train: "
            "add some to train, or remove the class"
        )
    leaks = tuple(_leaks(train, held))
    return Splits(_in_order(train), _in_order(held["val"]), _in_order(held["test"]), leaks, missing)


def _groups(pairs: Iterable[tuple[str, Sample]]) -> dict[str, Group]:
    """Samples by content, contents in order."""
    groups = defaultdict(list)
    for digest, sample in pairs:
        groups[digest].append(sample)
    return {digest: tuple(groups[digest]) for digest in sorted(groups)}


def _classes(group: Group, classes_of: ClassesOf) -> frozenset[int]:
    return frozenset(label for sample in group for label in classes_of(sample))


def _strata(classes: Classes) -> list[list[str]]:
    """Contents by class (of several the rarest, -1 for none), in the order of classes, then of contents."""
    counts = Counter(label for found in classes.values() for label in found)
    strata = defaultdict(list)
    for digest, found in classes.items():
        strata[min(found, key=lambda label: (counts[label], label), default=-1)].append(digest)
    return [strata[label] for label in sorted(strata)]


def _cut(classes: Classes, val: float, test: float) -> dict[str, Split]:
    """{content: part}."""
    strata = _strata(classes)
    parts: dict[str, Split] = dict.fromkeys(classes, "train")
    shares: tuple[tuple[Split, float], ...] = (("test", test), ("val", val))
    sizes = [len(stratum) for stratum in strata]
    for name, share in shares:
        # Rounded alike twice, the same few of many small classes would have both a val and a test image.
        few = min(sizes) * share < 1
        quotas = _quotas(sizes, share, 0.5 - _TINY if name == "val" and test and few else 0.0)
        for stratum, quota in zip(strata, quotas, strict=True):
            for digest in [d for d in stratum if parts[d] == "train"][:quota]:
                parts[digest] = name
    _return_last_images(classes, parts)
    for name, share in reversed(shares):
        if share and name not in parts.values():
            _lend_one(classes, parts, name)
    return parts


def _quotas(sizes: Sequence[int], share: float, carry: float = 0.0) -> Iterator[int]:
    """`share` of each size in whole numbers; rounding errors are carried to the next, so that the sum is right.

    Args:
        sizes: numbers of images.
        share: from 0 to below 1.
        carry: rounding error to begin with, below 0.5: the sum is rounded to the nearest number if 0, up near 0.5.
            Of equal sizes with a share below half an image, these two give an image to different ones.
    """
    for size in sizes:
        ideal = size * share + carry
        quota = min(size, max(0, int(ideal + 0.5)))
        carry = ideal - quota
        yield quota


def _return_last_images(classes: Classes, parts: dict[str, Split]) -> None:
    """Return the first content of each class that has no training image left."""
    trained = {label for digest, part in parts.items() if part == "train" for label in classes[digest]}
    for digest, found in classes.items():
        if not found <= trained:
            parts[digest] = "train"
            trained |= found


def _lend_one(classes: Classes, parts: dict[str, Split], name: Split) -> None:
    """Move one content of the largest class from train to an empty part, but never the last of a class."""
    candidates = [digest for digest, part in parts.items() if part == "train"]
    trained = Counter(label for digest in candidates for label in classes[digest])

    def spare(digest: str) -> int:
        if not trained:  # no image has a class
            return len(candidates)
        return min((trained[label] for label in classes[digest]), default=0)

    best = max(candidates, key=spare)
    if spare(best) > 1:
        parts[best] = name


def _untrained(
    train: list[tuple[str, Sample]], held: list[tuple[str, Sample]], classes_of: ClassesOf
) -> tuple[int, ...]:
    trained = {label for _, sample in train for label in classes_of(sample)}
    return tuple(sorted({label for _, sample in held for label in classes_of(sample)} - trained))


def _in_order(pairs: list[tuple[str, Sample]]) -> tuple[Sample, ...]:
    return tuple(s for _, s in sorted(pairs, key=lambda pair: (pair[0], pair[1].labels, pair[1].name)))


def _leaks(
    train: list[tuple[str, Sample]], held: dict[str, list[tuple[str, Sample]]]
) -> Iterator[tuple[Sample, Sample]]:
    first = dict(reversed(train))
    for digest, sample in sorted(held["test"] + held["val"], key=lambda pair: (pair[0], pair[1].name)):
        if digest in first:
            yield first[digest], sample
