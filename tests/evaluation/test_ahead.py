"""The iterator that is one item ahead."""

import threading
from collections.abc import Generator
from contextvars import ContextVar

import pytest

from vitrail.evaluation.ahead import ahead

NUMBER: ContextVar[int] = ContextVar("number", default=0)


def test_the_same_items_in_order_and_each_made_before_it_is_asked_for():
    made = [threading.Event() for _ in range(4)]

    def items() -> Generator[int, None, None]:
        for index, event in enumerate(made):
            event.set()
            yield index

    found = []
    for item in ahead(items()):
        if item + 1 < len(made):
            assert made[item + 1].wait(timeout=60)
        found.append(item)
    assert found == [0, 1, 2, 3]
    assert list(ahead(item for item in ())) == []


def test_an_error_comes_where_its_item_would():
    def items() -> Generator[int, None, None]:
        yield 1
        raise ValueError("broken")

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="broken"):
        next(found)


@pytest.mark.parametrize("used", [0, 1, 2])
def test_one_that_is_left_is_closed(used: int):
    closed = []

    def items() -> Generator[int, None, None]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    found = ahead(items())
    for _ in range(used):
        next(found)
    found.close()  # type: ignore[attr-defined]
    assert closed == [True] * bool(used)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vitrail-ahead")]


def test_context_variables_are_those_of_the_caller():
    token = NUMBER.set(7)
    try:
        assert list(ahead(NUMBER.get() for _ in range(3))) == [7, 7, 7]
    finally:
        NUMBER.reset(token)
