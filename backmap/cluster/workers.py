"""What does pieces of a job, some at a time: the interface, and threads of this process."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Protocol

import torch


class Job(Protocol):
    """All that decides the result of a kind of work, as a value that can be sent to other processes."""

    def open(self, device: torch.device | str) -> Callable[..., Any]:
        """Get ready on a device, and give the function that does a piece of the work."""


class Future(Protocol):
    """A result that is being worked on."""

    def result(self) -> Any:
        """Wait for it."""


class Workers(Protocol):
    """Does pieces of one job."""

    @property
    def window(self) -> int:
        """How many pieces to hand in before the first is waited for: enough that nobody idles."""

    def submit(self, *piece: Any) -> Future:
        """Hand in a piece of the work."""

    def __enter__(self) -> Workers: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LocalWorkers:
    """Threads of this process, each doing a piece of its own.

    The models are many small steps, which more processor threads for one piece slow down rather than help.

    Parameters
    ----------
    job : Job
        What is done.
    device : torch.device or str
        Where to compute.
    count : int
        Pieces done at once.
    threads : int
        Processor threads for each of them.
    """

    def __init__(self, job: Job, device: torch.device | str, count: int = 1, threads: int = 1) -> None:
        self._function = job.open(device)
        self._pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(threads,))
        self.window = count + 1

    def submit(self, *piece: Any) -> Future:
        """Hand in a piece of the work."""
        return self._pool.submit(self._function, *piece)

    def __enter__(self) -> LocalWorkers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop pieces that have not begun; those being done are waited for unless the program is to end."""
        self._pool.shutdown(wait=kind is None or issubclass(kind, Exception), cancel_futures=True)
