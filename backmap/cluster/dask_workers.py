"""Processes on this machine or a cluster, through Dask; the work of a process that dies is repeated."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import backmap
from backmap.errors import InputError

from .workers import Job

if TYPE_CHECKING:
    import torch
    from distributed import Client, LocalCluster, Worker

CONNECT_SECONDS = 10
WORKERS_SECONDS = 120
"""How long to wait for a scheduler, and for its first worker."""

_COUNT_SECONDS = 2.0

_MALLOC_OPTIONS = ((-3, 32 << 20), (-1, 64 << 20))
"""M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of glibc: the values that they reach in ordinary processes."""

_PACKAGES = (backmap.DISTRIBUTION, "torch", "numpy")
"""Packages whose versions affect results."""


@contextmanager
def open_client(scheduler: str | None = None, workers: int | None = None) -> Iterator[Client]:
    """Connect to a scheduler, or start workers on this machine, and check that their versions match.

    Parameters
    ----------
    scheduler : str, optional
        Address of a running scheduler, ``tcp://HOST:PORT``, or the file it wrote its address to.
    workers : int, optional
        Number of processes to start on this machine if there is no scheduler.

    Raises
    ------
    InputError
        If Dask is not installed, the scheduler does not answer or has no workers, or the versions of a worker
        differ.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise InputError(
            "several workers need Dask; install it with `pip install 'dask[distributed]'`"
        ) from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if scheduler is None:
        with _leaving_interrupts_to_us():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            )
        with cluster, Client(cluster) as client, _killing_when_stopped(cluster):
            yield client
        return
    try:
        client = Client(_address_of(scheduler), timeout=CONNECT_SECONDS)
    except (OSError, ValueError, TypeError, RuntimeError, ImportError) as error:
        raise InputError(
            f"scheduler {scheduler}: cannot be reached; start one with `dask scheduler` and give the address "
            "it prints"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKERS_SECONDS)
        except TimeoutError as error:
            raise InputError(
                f"scheduler {scheduler}: no worker connected within {WORKERS_SECONDS} s; start some with "
                f"`dask worker {scheduler}`"
            ) from error
        _require_versions(client)
        yield client


@contextmanager
def _killing_when_stopped(cluster: LocalCluster) -> Iterator[None]:
    """Kill workers at once if the program is stopped: Dask would wait seconds for them to finish."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        for nanny in cluster.workers.values():
            nanny.auto_restart = False
            if nanny.pid:
                os.kill(nanny.pid, signal.SIGKILL)
        raise


@contextmanager
def _leaving_interrupts_to_us() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C from the terminal; this process does, and ends them.

    Threads and processes that start meanwhile inherit the blocked signal. An interrupt that comes in the
    meantime is not lost: it is delivered afterwards.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _address_of(scheduler: str) -> str:
    """Return the address of a scheduler: as given, or from the file that the scheduler wrote."""
    if not Path(scheduler).is_file():
        return scheduler
    try:
        written = json.loads(Path(scheduler).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        written = None
    if not isinstance(written, dict) or not isinstance(written.get("address"), str):
        raise InputError(
            f"scheduler {scheduler}: not a scheduler file; give the file written by "
            "`dask scheduler --scheduler-file`"
        )
    return written["address"]


def _require_versions(client: Client) -> None:
    """Refuse workers whose package versions differ from those of this process."""
    found: Any = client.get_versions(packages=list(_PACKAGES))  # a coroutine only of asynchronous clients
    here = found["client"]["packages"]
    for address, versions in found["workers"].items():
        for package in _PACKAGES:
            there = (versions or {}).get("packages", {}).get(package)
            if there != here[package]:
                raise InputError(
                    f"worker {address}: has {package} {there or '(none)'}, but the run uses "
                    f"{here[package]}; install the same version there"
                )


def choose_device(client: Client, device: str) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a type of device that all workers have."""
    import torch

    if device == "cpu":
        return torch.device("cpu")
    having = client.run(torch.cuda.is_available)
    lacking = [address for address, is_there in having.items() if not is_there]
    if device == "cuda" and lacking:
        raise InputError(
            f"device cuda: PyTorch finds no CUDA device on worker {lacking[0]}; use --device cpu"
        )
    return torch.device("cpu" if lacking else "cuda")


class DaskWorkers:
    """The workers of a Dask client.

    Each worker loads the job once. Numbered workers, as on a single machine, share its GPUs in turn; others
    use the first GPU they see.

    Parameters
    ----------
    client : Client
        From :func:`open_client`.
    job : Job
        The job.
    device : torch.device
        Type of device, from :func:`choose_device`.
    """

    def __init__(self, client: Client, job: Job, device: torch.device) -> None:
        self._client = client
        self._plugin = _make_plugin(job, device.type)
        self._counted = (0.0, 1)

    @property
    def window(self) -> int:
        """Two pieces per thread of the workers that are connected now."""
        moment, threads = self._counted
        if time.monotonic() - moment > _COUNT_SECONDS:
            threads = max(1, sum(self._client.nthreads().values()))
            self._counted = (time.monotonic(), threads)
        return 2 * threads

    def submit(self, *piece: Any) -> _DaskFuture:
        """Submit a piece of the work."""
        future = self._client.submit(do_piece, self._plugin.name, backmap.__version__, *piece, pure=False)
        return _DaskFuture(future)

    def __enter__(self) -> DaskWorkers:
        self._client.register_plugin(self._plugin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(Exception):  # the scheduler may be gone
            self._client.unregister_worker_plugin(self._plugin.name)


class _DaskFuture:
    """A result of a worker; failures of the cluster are reported in one sentence."""

    def __init__(self, future: Any) -> None:
        self._future = future

    def result(self) -> Any:
        from distributed import CancelledError, KilledWorker
        from distributed.comm import CommClosedError

        try:
            return self._future.result()
        except KilledWorker as error:
            raise InputError(
                "workers died repeatedly on one piece of the work; give them more memory, or use a smaller "
                "--batch"
            ) from error
        except (CancelledError, CommClosedError) as error:
            raise InputError(
                "lost the connection to the scheduler; restart it and continue with --resume"
            ) from error


class _Opened:
    """A job on one worker, loaded by the first thread that needs it."""

    def __init__(self, job: Job, device_type: str, number: object) -> None:
        self._job, self._device_type, self._number = job, device_type, number
        self._lock = threading.Lock()
        self._function: Any = None

    def __call__(self, *piece: Any) -> Any:
        import torch

        torch.set_num_threads(1)
        with self._lock:
            if self._function is None:
                _keep_freed_memory()
                self._function = self._job.open(self._device())
        return self._function(*piece)

    def _device(self) -> torch.device:
        import torch

        if self._device_type == "cpu":
            return torch.device("cpu")
        number = self._number if isinstance(self._number, int) else 0
        return torch.device("cuda", number % torch.cuda.device_count())


def _keep_freed_memory() -> None:
    """Let the process keep freed memory for later allocations, as ordinary processes do.

    Dask makes its workers return it at once (MALLOC_TRIM_THRESHOLD_), which halves the speed of models that
    allocate some megabytes at every step.
    """
    with suppress(AttributeError, OSError):  # a C library without this setting
        set_option = ctypes.CDLL(None).mallopt
        for option, size in _MALLOC_OPTIONS:
            set_option(option, size)


def _make_plugin(job: Job, device_type: str) -> Any:
    """Make the plugin that brings a job to every worker, including those that connect later."""
    from distributed import WorkerPlugin

    class JobPlugin(WorkerPlugin):
        name = f"backmap-{uuid.uuid4().hex}"

        def setup(self, worker: Worker) -> None:
            self.opened = _Opened(job, device_type, worker.name)

    return JobPlugin()


def do_piece(plugin: str, version: str, *piece: Any) -> Any:
    """Do a piece of the work, on a worker."""
    from distributed import get_worker

    if version != backmap.__version__:
        raise InputError(
            f"worker {get_worker().address}: has backmap {backmap.__version__}, but the run uses {version}; "
            "install the same version there"
        )
    job_plugin: Any = get_worker().plugins[plugin]  # of :func:`_make_plugin`
    return job_plugin.opened(*piece)
