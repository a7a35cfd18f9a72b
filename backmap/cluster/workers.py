"""Workers, which do pieces of a job concurrently: the interface, and threads of this process."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch


class Job(Protocol):
    """Everything that determines the result of some work, as a value that can be sent to other processes."""

    def open(self, device: torch.device | str) -> Callable[..., Any]:
        """Prepare the job on a device, and return the function that does a piece of the work."""


class Future(Protocol):
    """A result that is being computed."""

    def result(self) -> Any:
        """Wait for the result and return it."""


class Workers(Protocol):
    """Workers that do pieces of one job."""

    @property
    def window(self) -> int:
        """Number of pieces to submit before waiting for the first: enough to keep all workers busy."""

    def submit(self, *piece: Any) -> Future:
        """Submit a piece of the work."""

    def __enter__(self) -> Workers: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LocalWorkers:
    """Threads of this process, each doing one piece at a time.

    The models consist of many small steps, which several processor threads per piece slow down.

    Parameters
    ----------
    job : Job
        The job.
    device : torch.device or str
        Where to compute.
    count : int
        Number of pieces done at once.
    threads : int
        Processor threads per piece.
    """

    def __init__(self, job: Job, device: torch.device | str, count: int = 1, threads: int = 1) -> None:
        import torch

        self._function = job.open(device)
        self._pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(threads,))
        self.window = count + 1

    def submit(self, *piece: Any) -> Future:
        """Submit a piece of the work."""
        return self._pool.submit(self._function, *piece)

    def __enter__(self) -> LocalWorkers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop pieces that have not started; wait for running ones unless the program is being stopped."""
        self._pool.shutdown(wait=kind is None or issubclass(kind, Exception), cancel_futures=True)
