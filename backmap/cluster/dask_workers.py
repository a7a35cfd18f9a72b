"""Processes of this machine or of a cluster, through Dask: what one that dies was doing is done again."""

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

import torch

import backmap
from backmap.errors import InputError

from .workers import Job

if TYPE_CHECKING:
    from distributed import Client, LocalCluster, Worker

CONNECT_SECONDS = 10
WORKERS_SECONDS = 120
"""How long a scheduler, and its first worker, are waited for."""

_COUNT_SECONDS = 2.0

_MALLOC_OPTIONS = ((-3, 32 << 20), (-1, 64 << 20))
"""M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of glibc: what they become in other processes."""

_PACKAGES = (backmap.DISTRIBUTION, "torch", "numpy")
"""Packages whose versions decide a result."""


@contextmanager
def open_client(scheduler: str | None = None, workers: int | None = None) -> Iterator[Client]:
    """Connect to a scheduler, or start workers on this machine, and make sure that they fit.

    Parameters
    ----------
    scheduler : str, optional
        Address of a running scheduler, ``tcp://HOST:PORT``, or the file it wrote its address to.
    workers : int, optional
        Without a scheduler: how many processes to start here.

    Raises
    ------
    InputError
        If Dask is not installed, the scheduler does not answer, has no workers, or one has other versions.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise InputError(
            f"several workers need Dask; pip install '{backmap.DISTRIBUTION}[cluster]', or dask[distributed]"
        ) from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if scheduler is None:
        with _deaf_to_interrupts():
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
                f"scheduler {scheduler}: no worker came within {WORKERS_SECONDS} s; start some with "
                f"`dask worker {scheduler}`"
            ) from error
        _require_versions(client)
        yield client


@contextmanager
def _killing_when_stopped(cluster: LocalCluster) -> Iterator[None]:
    """Kill workers at once where the program is told to end: Dask would wait seconds for what they build."""
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
def _deaf_to_interrupts() -> Iterator[None]:
    """Let processes that start here leave an interrupt from the terminal to this one, which will end them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _address_of(scheduler: str) -> str:
    """Give the address of a scheduler: as it stands, or from the file the scheduler wrote."""
    if not Path(scheduler).is_file():
        return scheduler
    try:
        written = json.loads(Path(scheduler).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        written = None
    if not isinstance(written, dict) or not isinstance(written.get("address"), str):
        raise InputError(
            f"scheduler {scheduler}: is no file of a scheduler; give the one that "
            "`dask scheduler --scheduler-file` wrote"
        )
    return written["address"]


def _require_versions(client: Client) -> None:
    """Refuse workers whose packages are not those of this process."""
    found = client.get_versions(packages=list(_PACKAGES))
    here = found["client"]["packages"]
    for address, versions in found["workers"].items():
        for package in _PACKAGES:
            there = (versions or {}).get("packages", {}).get(package)
            if there != here[package]:
                raise InputError(
                    f"worker {address}: has {package} {there or '(none)'}, but this is {here[package]}; "
                    "install the same version there"
                )


def choose_device(client: Client, device: str) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a kind of device that all workers have."""
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

    Every worker loads the job once. Where workers are numbered, as on one machine, each takes its own of the
    machine's GPUs in turn; elsewhere the first one it sees.

    Parameters
    ----------
    client : Client
        From :func:`open_client`.
    job : Job
        What is done.
    device : torch.device
        Kind of device, from :func:`choose_device`.
    """

    def __init__(self, client: Client, job: Job, device: torch.device) -> None:
        self._client = client
        self._plugin = _make_plugin(job, device.type)
        self._counted = (0.0, 1)

    @property
    def window(self) -> int:
        """Two pieces for each thread of the workers that are there now."""
        moment, threads = self._counted
        if time.monotonic() - moment > _COUNT_SECONDS:
            threads = max(1, sum(self._client.nthreads().values()))
            self._counted = (time.monotonic(), threads)
        return 2 * threads

    def submit(self, *piece: Any) -> _DaskFuture:
        """Hand in a piece of the work."""
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
    """A result of a worker; what went wrong on the way is said in one sentence."""

    def __init__(self, future: Any) -> None:
        self._future = future

    def result(self) -> Any:
        from distributed import CancelledError, KilledWorker
        from distributed.comm import CommClosedError

        try:
            return self._future.result()
        except KilledWorker as error:
            raise InputError(
                "workers died again and again on one piece of the work; give them more memory, or a smaller "
                "--batch"
            ) from error
        except (CancelledError, CommClosedError) as error:
            raise InputError("the scheduler went away; start it again and go on with --resume") from error


class _Opened:
    """A job on one worker, loaded by the first thread that needs it."""

    def __init__(self, job: Job, device_type: str, number: object) -> None:
        self._job, self._device_type, self._number = job, device_type, number
        self._lock = threading.Lock()
        self._function: Any = None

    def __call__(self, *piece: Any) -> Any:
        torch.set_num_threads(1)
        with self._lock:
            if self._function is None:
                _keep_freed_memory()
                self._function = self._job.open(self._device())
        return self._function(*piece)

    def _device(self) -> torch.device:
        if self._device_type == "cpu":
            return torch.device("cpu")
        number = self._number if isinstance(self._number, int) else 0
        return torch.device("cuda", number % torch.cuda.device_count())


def _keep_freed_memory() -> None:
    """Let the process keep memory that is freed for what comes next, as processes do on their own.

    Dask makes its workers give it back at once (MALLOC_TRIM_THRESHOLD_), which halves the speed of models
    that allocate some megabytes at every step.
    """
    with suppress(AttributeError, OSError):  # a C library that has no such setting
        set_option = ctypes.CDLL(None).mallopt
        for option, size in _MALLOC_OPTIONS:
            set_option(option, size)


def _make_plugin(job: Job, device_type: str) -> Any:
    """Make the plugin that brings a job to every worker, those that come later too."""
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
            f"worker {get_worker().address}: has backmap {backmap.__version__}, but this is {version}; "
            "install the same version there"
        )
    return get_worker().plugins[plugin].opened(*piece)
