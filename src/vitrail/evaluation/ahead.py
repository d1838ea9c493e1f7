"""Makes the next item of an iterator while the present one is used."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")

_END: Any = object()


def ahead(items: Generator[T, None, None]) -> Iterator[T]:
    """Yield the same items; the next one is made in a thread, which has the context variables of the caller.

    The first is made in the thread of the caller, so that a compilation before it can be interrupted. A consumer that
    stops early waits for the item that is being made, and `items` is closed.
    """
    context = copy_context()

    def following() -> T:
        return context.run(next, items, _END)

    thread = ThreadPoolExecutor(1, "vitrail-ahead")
    try:
        item = following()
        while item is not _END:
            coming = thread.submit(following)
            yield item
            item = coming.result()
    finally:
        try:
            thread.shutdown()
        finally:
            items.close()
