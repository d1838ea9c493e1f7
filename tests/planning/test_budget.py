"""Amounts of memory, and the largest batch."""

import pytest

from vitrail.errors import VitrailError
from vitrail.planning.budget import format_bytes, largest_batch, parse_bytes


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("16GB", 16 * 10**9),
        ("16GiB", 16 * 2**30),
        ("16 G", 16 * 2**30),
        ("800mb", 800 * 10**6),
        ("1.5TiB", 3 * 2**39),
        ("123", 123),
    ],
)
def test_amounts_as_people_write_them(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "GB", "16 XB", "-3GB", "1,5GB", "0GB"])
def test_other_words_are_refused(text):
    with pytest.raises(VitrailError, match="is not an amount of memory: write it as 16GB"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (669_446_696, "669 MB"),
        (22_869_664, "22.9 MB"),
        (999_900_000, "1 GB"),
        (36_265_500_000, "36.3 GB"),
        (12, "0.012 kB"),
    ],
)
def test_amounts_for_people(count, text):
    assert format_bytes(count) == text


@pytest.mark.parametrize("budget", [0, 99, 100, 109, 110, 500, 5000, 5009, 123_456])
def test_largest_batch_is_exact_even_where_small_batches_differ(budget):
    def peak(batch: int) -> int:
        return max(100, 60 + 10 * batch)

    expected = max((batch for batch in range(1, 20_000) if peak(batch) <= budget), default=0)
    assert largest_batch(peak, budget) == expected
