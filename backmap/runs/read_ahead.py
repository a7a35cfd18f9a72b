"""Iterators that run in another thread while their items are used."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

Item = TypeVar("Item")

_END: Any = object()


def read_ahead(items: Iterable[Item], depth: int = 1) -> Iterator[Item]:
    """Iterate over items while another thread computes the next ones.

    Parameters
    ----------
    items : iterable
        Used only by that thread.
    depth : int
        Number of items computed in advance. Exceptions are raised in their place among the items.
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
        with suppress(RuntimeError):  # the interpreter is shutting down
            pool.submit(getattr(iterator, "close", tuple))  # after the item that is being computed
        pool.shutdown(wait=False)
