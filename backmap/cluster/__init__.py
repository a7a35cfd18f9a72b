"""Where work is done: threads of this process, or processes of this machine and others through Dask."""

from .dask_workers import DaskWorkers, choose_device, open_client
from .workers import Job, LocalWorkers, Workers

__all__ = ["DaskWorkers", "Job", "LocalWorkers", "Workers", "choose_device", "open_client"]
