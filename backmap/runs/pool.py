"""Workers of a run: threads of this process, processes on this machine, or a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backmap.cluster import (
    DaskWorkers,
    Job,
    LocalWorkers,
    Workers,
    choose_device,
    open_client,
    select_device,
)

from .request import Request

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Pool:
    """Device and workers of a run.

    Parameters
    ----------
    device : torch.device
        Kind of device.
    client : distributed.Client, optional
        Client of the cluster, if there is one.
    threads : int
        Number of processor threads of this process.
    """

    device: torch.device
    client: Any
    threads: int

    @property
    def sharing(self) -> int:
        """Number of batches built at once in the memory of this machine."""
        if self.client is not None:
            return max(1, len(self.client.nthreads()))
        return self.threads if self.device.type == "cpu" else 1

    def workers(self, job: Job, pieces: int | None = None) -> Workers:
        """Open workers for a job, for at most ``pieces`` pieces at once if given."""
        if self.client is not None:
            return DaskWorkers(self.client, job, self.device)
        count = min(self.sharing, pieces or self.sharing)
        return LocalWorkers(job, self.device, count, max(1, self.threads // count))


@contextmanager
def open_pool(request: Request) -> Iterator[Pool]:
    """Select the device of a run, and start or connect to its workers."""
    import torch

    threads = request.threads or torch.get_num_threads()
    if request.scheduler is None and request.workers is None:
        yield Pool(select_device(request.device), None, threads)
        return
    with open_client(request.scheduler, request.workers) as client:
        yield Pool(choose_device(client, request.device), client, threads)
