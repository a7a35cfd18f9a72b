"""Workers: threads of this process, or processes on this machine and others through Dask."""

from .dask_workers import DaskWorkers, choose_device, open_client
from .devices import count_workers, select_device
from .workers import Job, LocalWorkers, Workers

__all__ = [
    "DaskWorkers",
    "Job",
    "LocalWorkers",
    "Workers",
    "choose_device",
    "count_workers",
    "open_client",
    "select_device",
]
