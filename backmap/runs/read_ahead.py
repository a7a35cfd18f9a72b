"""Iterators whose work goes on in another thread while their items are used."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

Item = TypeVar("Item")

_END: Any = object()


def read_ahead(items: Iterable[Item], depth: int = 1) -> Iterator[Item]:
    """Go through items while the next ones are being made in a thread of their own.

    Parameters
    ----------
    items : iterable
        Used by that thread alone.
    depth : int
        How many items are made before they are asked for. An exception comes in its place among them.
    """
    iterator = iter(items)
    pool = ThreadPoolExecutor(1)
    waiting: deque[Future[Item]] = deque()
    try:
        while True:
            while len(waiting) <= depth:
                waiting.append(pool.submit(next, iterator, _END))
            item = waiting.popleft().result()
            if item is _END:
                return
            yield item
    finally:
        for future in waiting:
            future.cancel()
        with suppress(RuntimeError):  # Python itself is ending
            pool.submit(getattr(iterator, "close", tuple))  # behind the item that is being made
        pool.shutdown(wait=False)
