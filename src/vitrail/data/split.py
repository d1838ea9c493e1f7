"""Which images to learn from, which to choose by, and which to keep for the end."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..errors import VitrailError
from .samples import Sample, Split
from .survey import Survey

Group = tuple[Sample, ...]
"""All samples with the same bytes."""


@dataclass(frozen=True, slots=True)
class Splits:
    """The parts of a source, each in the order of content hashes: file names and their order change nothing.

    Attributes:
        train, val, test: test is empty where the source brings a val split but no test split.
        leaks: (train sample, held-out sample) with the same bytes, in a source that brought its own split.
    """

    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    leaks: tuple[tuple[Sample, Sample], ...] = ()


def split(survey: Survey, *, val: float = 0.1, test: float = 0.1) -> Splits:
    """Cut the parts that the source does not bring out of its training images.

    A source with train and test gets a val part cut from train; with train and val it has no test part;
    without any, both are cut. Images are ranked by content hash within their class, and each class gives the
    same share: the result depends on nothing but the bytes and labels, exact duplicates stay together, and
    each class keeps at least one training image. Of a multi-label image the rarest class counts.

    Args:
        val, test: the shares to cut, counted in distinct pictures.

    Raises:
        VitrailError: if the shares leave nothing to train on, or there is nothing to train on (see
            `Survey.require_trainable`), or a class is in the held-out images only.
    """
    if min(val, test) < 0 or val + test >= 1:
        raise VitrailError(f"val={val} and test={test}: shares are at least 0 and leave something to train on")
    survey.require_trainable()
    given: dict[Split | None, list[tuple[str, Sample]]] = defaultdict(list)
    for sample, facts in zip(survey.source.samples, survey.facts, strict=True):
        given[sample.split].append((facts.digest, sample))
    pool = given["train"] + given[None]
    if not pool:
        raise VitrailError(
            f"{survey.source.name} has no train split, only {', '.join(map(str, given))}: name a training set"
        )
    cut_val = 0.0 if given["val"] else val
    cut_test = 0.0 if given["val"] or given["test"] else test
    groups = _groups(pool)
    parts = _cut(groups, _strata(groups), cut_val, cut_test)
    held = {"val": given["val"], "test": given["test"]}
    for digest, part in parts.items():
        if part != "train":
            held[part] += [(digest, sample) for sample in groups[digest]]
    train = [(digest, sample) for digest, part in parts.items() if part == "train" for sample in groups[digest]]
    _require_all_classes(survey, train)
    return Splits(_in_order(train), _in_order(held["val"]), _in_order(held["test"]), tuple(_leaks(train, held)))


def _groups(pairs: Iterable[tuple[str, Sample]]) -> dict[str, Group]:
    """Samples by content, contents in order."""
    groups = defaultdict(list)
    for digest, sample in pairs:
        groups[digest].append(sample)
    return {digest: tuple(groups[digest]) for digest in sorted(groups)}


def _labels(group: Group) -> set[int]:
    return {label for sample in group for label in sample.labels}


def _strata(groups: dict[str, Group]) -> list[list[str]]:
    """Contents by class (of several the rarest, -1 for none), in the order of classes, then of contents."""
    counts = Counter(label for group in groups.values() for label in _labels(group))
    strata = defaultdict(list)
    for digest, group in groups.items():
        strata[min(_labels(group), key=lambda label: (counts[label], label), default=-1)].append(digest)
    return [strata[label] for label in sorted(strata)]


def _cut(groups: dict[str, Group], strata: list[list[str]], val: float, test: float) -> dict[str, Split]:
    """{content: part}."""
    parts: dict[str, Split] = dict.fromkeys(groups, "train")
    for name, share in (("test", test), ("val", val)):
        for stratum, quota in zip(strata, _quotas([len(s) for s in strata], share), strict=True):
            for digest in [d for d in stratum if parts[d] == "train"][:quota]:
                parts[digest] = name  # type: ignore[assignment]
    _return_last_images(groups, parts)
    for name, share in (("val", val), ("test", test)):
        if share and name not in parts.values():
            _lend_one(groups, parts, name)  # type: ignore[arg-type]
    return parts


def _quotas(sizes: Sequence[int], share: float) -> Iterator[int]:
    """`share` of each size in whole numbers; what rounding leaves goes on to the next, so that the sum is
    right."""
    carry = 0.0
    for size in sizes:
        ideal = size * share + carry
        quota = min(size, max(0, int(ideal + 0.5)))
        carry = ideal - quota
        yield quota


def _return_last_images(groups: dict[str, Group], parts: dict[str, Split]) -> None:
    """Give each class that was cut out of train whole its first content back."""
    trained = {label for digest, part in parts.items() if part == "train" for label in _labels(groups[digest])}
    for digest, group in groups.items():
        if not _labels(group) <= trained:
            parts[digest] = "train"
            trained |= _labels(group)


def _lend_one(groups: dict[str, Group], parts: dict[str, Split], name: Split) -> None:
    """Move one content from train to an empty part: of the largest class, and never a class's last."""
    trained = Counter(label for digest, part in parts.items() if part == "train" for label in _labels(groups[digest]))

    def spare(digest: str) -> int:
        return min((trained[label] for label in _labels(groups[digest])), default=0)

    candidates = [digest for digest, part in parts.items() if part == "train"]
    best = max(candidates, key=spare)
    if spare(best) > 1:
        parts[best] = name


def _require_all_classes(survey: Survey, train: list[tuple[str, Sample]]) -> None:
    trained = {label for _, sample in train for label in sample.labels}
    missing = [name for i, name in enumerate(survey.source.class_names) if i not in trained]
    if missing:
        raise VitrailError(
            f"{survey.source.name} has images of {', '.join(missing[:5])} in val or test but none in train: "
            "add some to train, or remove the class"
        )


def _in_order(pairs: list[tuple[str, Sample]]) -> tuple[Sample, ...]:
    return tuple(s for _, s in sorted(pairs, key=lambda pair: (pair[0], pair[1].labels, pair[1].name)))


def _leaks(
    train: list[tuple[str, Sample]], held: dict[str, list[tuple[str, Sample]]]
) -> Iterator[tuple[Sample, Sample]]:
    first = dict(reversed(train))
    for digest, sample in sorted(held["test"] + held["val"], key=lambda pair: (pair[0], pair[1].name)):
        if digest in first:
            yield first[digest], sample
