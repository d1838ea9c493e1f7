"""Makes the next item of an iterator while the present one is used."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")

_END: Any = object()


def ahead(items: Generator[T, None, None]) -> Iterator[T]:
    """Yield the same items; the next one is made in a thread, which has the context variables of the caller.

    A consumer that stops early waits for the item that is being made, and `items` is closed.
    """
    context = copy_context()

    def following() -> T:
        return context.run(next, items, _END)

    with ThreadPoolExecutor(1, "vitrail-ahead") as thread:
        try:
            coming = thread.submit(following)
            while (item := coming.result()) is not _END:
                coming = thread.submit(following)
                yield item
        finally:
            thread.shutdown()
            items.close()
