"""What must hold for every source: nothing lost or twice, no content in two parts, no class untrained."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrail.data.samples import FileAt, Sample, Source
from vitrail.data.split import Splits, split
from vitrail.data.survey import Facts, Survey, digest
from vitrail.errors import VitrailError
from vitrail.task_spec import CLASSIFICATION, MULTI_LABEL, REGRESSION, TaskSpec


def made(rows: list[tuple[str, tuple[int, ...], str | None]], classes: int, task: TaskSpec = CLASSIFICATION) -> Survey:
    """A survey of (content, labels, split) rows; the content stands for the bytes."""
    samples = tuple(
        Sample(f"{i}.png", labels, part, FileAt(f"{i}.png"))  # type: ignore[arg-type]
        for i, (_, labels, part) in enumerate(rows)
    )
    facts = tuple(Facts(8, 8, 1, digest(content.encode())) for content, _, _ in rows)
    return Survey(Source("made", tuple(map(str, range(classes))), samples, task), facts, ())  # type: ignore[arg-type]


def contents(survey: Survey, samples: tuple[Sample, ...]) -> list[str]:
    by_name = dict(zip((s.name for s in survey.source.samples), (f.digest for f in survey.facts), strict=True))
    return [by_name[sample.name] for sample in samples]


def parts(splits: Splits) -> tuple[tuple[Sample, ...], ...]:
    return splits.train, splits.val, splits.test


ROWS = st.lists(
    st.tuples(st.integers(0, 60).map(str), st.integers(0, 3).map(lambda label: (label,)), st.none()),
    min_size=6,
    max_size=80,
)
LABELS = st.lists(st.integers(0, 3), max_size=3, unique=True).map(lambda found: tuple(sorted(found)))
MULTI = st.lists(
    st.tuples(st.integers(0, 60).map(str), LABELS, st.none()),
    min_size=6,
    max_size=80,
)


def holds(survey: Survey) -> None:
    splits = split(survey, val=0.2, test=0.2)
    together = [sample for part in parts(splits) for sample in part]
    assert Counter(together) == Counter(survey.source.samples)
    found = [set(contents(survey, part)) for part in parts(splits)]
    assert found[0].isdisjoint(found[1] | found[2])
    assert found[1].isdisjoint(found[2])
    assert {label for s in splits.train for label in s.labels} == {label for s in together for label in s.labels}
    assert splits.leaks == ()


def every_class(rows: list, extra: int) -> list:
    """Two distinct contents of each of the four classes, so that there is something to train on."""
    return [*rows, *((f"{i}-{label}", (label,), None) for label in range(4) for i in range(extra))]


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_single_label_sources(rows: list):
    holds(made(every_class(rows, 2), 4))


@settings(max_examples=60, deadline=None)
@given(MULTI)
def test_multi_label_sources(rows: list):
    holds(made(every_class(rows, 2), 4, MULTI_LABEL))


@settings(max_examples=30, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_names_and_order_do_not_matter(rows: list, shuffler: random.Random):
    rows = every_class(rows, 2)
    first, mixed = made(rows, 4), made(shuffler.sample(rows, len(rows)), 4)
    for one, other in zip(parts(split(first, val=0.2, test=0.1)), parts(split(mixed, val=0.2, test=0.1)), strict=True):
        assert contents(first, one) == contents(mixed, other)
        assert [s.labels for s in one] == [s.labels for s in other]


def test_shares_are_exact_and_stratified():
    rows = [(f"{label}-{i}", (label,), None) for label, size in enumerate((100, 40, 7)) for i in range(size)]
    splits = split(made(rows, 3), val=0.1, test=0.2)
    assert [len(part) for part in parts(splits)] == [103, 15, 29]
    for part, share in ((splits.val, 0.1), (splits.test, 0.2)):
        for label, size in enumerate((100, 40, 7)):
            assert abs(sum(s.labels == (label,) for s in part) - size * share) <= 1


def test_many_small_classes_still_give_their_share():
    rows = [(f"{label}-{i}", (label,), None) for label in range(50) for i in range(3)]
    splits = split(made(rows, 50), val=0.1, test=0.1)
    assert [len(part) for part in parts(splits)] == [120, 15, 15]


def held_out_of(labels: int, size: int, val: float, test: float) -> tuple[list[int], list[int]]:
    """Numbers of val and of test images of each of `labels` classes with `size` images."""
    rows = [(f"{label}-{i}", (label,), None) for label in range(labels) for i in range(size)]
    splits = split(made(rows, labels), val=val, test=test)
    counts = [Counter(sample.labels[0] for sample in part) for part in (splits.val, splits.test)]
    return [counts[0][label] for label in range(labels)], [counts[1][label] for label in range(labels)]


@pytest.mark.parametrize("labels", [4, 9, 10, 37, 50])
def test_small_classes_are_in_validation_or_in_test_but_never_in_both(labels: int):
    val, test = held_out_of(labels, 3, 0.1, 0.1)
    assert all(one + other <= 1 for one, other in zip(val, test, strict=True))
    assert abs(sum(val) - 0.3 * labels) < 1
    assert abs(sum(test) - 0.3 * labels) <= 0.5


def test_large_classes_have_equal_parts_in_validation_and_test():
    assert held_out_of(3, 30, 0.1, 0.1) == ([3, 3, 3], [3, 3, 3])
    assert held_out_of(3, 25, 0.1, 0.1) == ([3, 2, 3], [3, 2, 3])


def test_a_tiny_source_still_has_something_to_check_with():
    splits = split(made([("a", (0,), None), ("b", (0,), None), ("c", (1,), None)], 2), val=0.1, test=0.1)
    assert [len(part) for part in parts(splits)] == [2, 1, 0]
    splits = split(made([(str(i), (i % 2,), None) for i in range(6)], 2), val=0.1, test=0.1)
    assert [len(part) for part in parts(splits)] == [4, 1, 1]


def given_rows(**sizes: int) -> list[tuple[str, tuple[int, ...], str | None]]:
    return [(f"{part}{i}", (i % 2,), part) for part, size in sizes.items() for i in range(size)]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"train": 40, "test": 10}, [36, 4, 10]),
        ({"train": 40, "val": 10}, [40, 10, 0]),
        ({"train": 40, "val": 6, "test": 8}, [40, 6, 8]),
        ({"train": 40}, [32, 4, 4]),
    ],
)
def test_a_split_of_its_own_is_kept(sizes: dict[str, int], expected: list[int]):
    splits = split(made(given_rows(**sizes), 2), val=0.1, test=0.1)
    assert [len(part) for part in parts(splits)] == expected
    if "test" in sizes:
        assert {sample.split for sample in splits.test} == {"test"}


def test_duplicates_of_held_out_images_are_reported():
    rows = [*given_rows(train=20, test=4), ("test2", (0,), "train")]
    survey = made(rows, 2)
    splits = split(survey, val=0.0, test=0.1)
    assert [(a.name, b.name) for a, b in splits.leaks] == [("24.png", "22.png")]


@pytest.mark.parametrize(
    ("rows", "classes", "message"),
    [
        ([], 0, "has no good image"),
        ([("a", (0,), None)], 1, "only one good image"),
        ([("a", (0,), None), ("b", (0,), None)], 1, "only one class, '0'"),
        ([("a", (0,), None), ("b", (1,), None)], 2, "one image of each class"),
        ([("a", (0,), None), ("b", (0,), None)], 2, "no good image of 1"),
        ([("a", (0,), "test"), ("b", (1,), "val"), ("c", (1,), "val")], 2, "no train split, only test, val"),
        (
            [("a", (0,), "train"), ("c", (0,), "train"), ("b", (1,), "test")],
            2,
            "images of 1 in val or test but none",
        ),
    ],
)
def test_what_cannot_be_trained_on(rows: list, classes: int, message: str):
    survey = made(rows, classes)

    def prepare() -> None:
        survey.require_trainable()
        split(survey, val=0.1, test=0.1)

    with pytest.raises(VitrailError, match=message):
        prepare()


def numbers(*rows: tuple[str, float, str | None]) -> Survey:
    """A survey of (content, number, split) rows."""
    survey = made([(content, (value,), part) for content, value, part in rows], 1)
    return replace(survey, source=replace(survey.source, task=REGRESSION, label_kind="numbers"))


def test_numbers_are_cut_by_content_alone():
    survey = numbers(*((f"c{i}", i / 7, None) for i in range(40)))
    survey.require_trainable()
    splits = split(survey, val=0.1, test=0.2)
    ranked = [
        s.name for s, _ in sorted(zip(survey.source.samples, survey.facts, strict=True), key=lambda p: p[1].digest)
    ]
    assert [s.name for s in splits.test] == ranked[:8]
    assert [s.name for s in splits.val] == ranked[8:12]
    assert [s.name for s in splits.train] == ranked[12:]
    assert survey.class_counts == ()


def test_two_numbers_suffice_and_one_does_not():
    splits = split(numbers(("a", 0.5, None), ("b", 1.5, None)), val=0.1, test=0.0)
    assert [len(part) for part in parts(splits)] == [1, 1, 0]
    with pytest.raises(VitrailError, match="only one good image: at least two are needed"):
        numbers(("a", 0.5, None)).require_trainable()


def test_copies_with_other_numbers_stay_together_and_are_reported():
    survey = numbers(("a", 0.5, None), ("a", 2.0, None), *((f"c{i}", 1.0, None) for i in range(18)))
    splits = split(survey, val=0.2, test=0.2)
    assert [sum(s.name in ("0.png", "1.png") for s in part) for part in parts(splits)].count(2) == 1
    assert [len(set(contents(survey, part))) for part in parts(splits)] == [11, 4, 4]
    assert survey.warnings == ("the same image with different labels: 0.png (0 0.5) = 1.png (0 2)",)


def test_images_without_labels_are_cut_for_pre_training():
    survey = made([(f"c{i}", (), None) for i in range(30)], 0)
    survey.require_trainable()
    assert [len(part) for part in parts(split(survey, val=0.1, test=0.0))] == [27, 3, 0]
    few = made([("a", (), None), ("b", (), None)], 0)
    assert [len(part) for part in parts(split(few, val=0.1, test=0.0))] == [1, 1, 0]


def test_classes_may_come_from_elsewhere_than_the_labels():
    """Strata by the tens of a number: each tens gives its share, as classes do."""
    survey = numbers(*((f"c{i}", float(i), None) for i in range(40)))
    splits = split(survey, val=0.0, test=0.2, classes_of=lambda sample: (int(sample.labels[0]) // 10,))
    assert Counter(int(s.labels[0]) // 10 for s in splits.test) == {0: 2, 1: 2, 2: 2, 3: 2}


def test_impossible_shares():
    with pytest.raises(VitrailError, match=r"val=0.6 and test=0.5"):
        split(made(given_rows(train=10), 2), val=0.6, test=0.5)


def test_a_source_without_a_train_part_is_named_with_the_parts_that_it_has():
    survey = made([("a", (0,), "test"), ("b", (1,), "val")], 2)
    with pytest.raises(VitrailError, match=r"no train split, only test, val: name"):
        split(survey)


def test_a_rare_class_of_objects_may_be_in_held_out_images_only():
    objects = {"a": (0,), "b": (0, 1), "c": (2, 3), "d": ()}
    survey = made([(name, (), "train" if name in "ab" else "val") for name in objects], 4)
    survey = replace(survey, source=replace(survey.source, label_kind="boxes"))
    by_name = {sample.name: found for sample, found in zip(survey.source.samples, objects.values(), strict=True)}
    splits = split(survey, classes_of=lambda sample: by_name[sample.name])
    assert splits.untrained == (2, 3)
    assert len(splits.train) == len(splits.val) == 2
