"""Reading with mdtraj and gsd in another process, so that a damaged file cannot crash backmap.

The C libraries that mdtraj uses trust their input. The XTC library writes past its buffers if the packed
positions contain a longer run of atoms than the frame, reads entries beyond its tables, and divides by zero;
those of HDF5 and GSD follow addresses in a damaged file to invalid memory. Checks of headers find few such
files. In another process, a crash is a missing answer, and what the libraries print remains hidden.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import spawn
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from backmap.errors import InputError

from ..naming import suffix_of
from .ascii_names import ascii_name
from .reading_errors import missing_package, unreadable
from .text_file import held, open_text

if TYPE_CHECKING:
    import mdtraj

_SCRIPT = Path(__file__).with_name("reading_process_main.py")


class _RemoteFile:
    """A file open in the reading process until the ``with`` block ends or nothing refers to it any more."""

    _opened_in: _Process | None = None

    def __init__(self, path: Path, action: str, *details: object) -> None:
        self._path = path
        self._opening = (action, details)
        self._handle = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._opened_in is not None:
            self._opened_in.let_go(self._handle)
            self._opened_in = None

    def __del__(self) -> None:
        self.__exit__()

    def _ask(self, action: str, *details: object) -> Any:
        def ask(process: _Process) -> tuple[str, Any]:
            if self._opened_in is not process:
                action_of_opening, its_details = self._opening
                with ascii_name(self._path) as name:
                    answer = process.ask(action_of_opening, name, *its_details)
                self._handle, self._opened_in = _value(self._path, answer), process
            return process.ask(action, self._handle, *details)

        return _value(self._path, _answer(self._path, ask))


class RemoteTrajectory(_RemoteFile):
    """A trajectory opened with mdtraj.

    Parameters
    ----------
    path : Path
        The file.
    offsets : ndarray, (frames,) int64, optional
        Bytes before each frame, for formats in which mdtraj would search for them.
    """

    def __init__(self, path: Path, offsets: np.ndarray | None = None) -> None:
        super().__init__(path, "open", offsets)

    def extent(self) -> tuple[int, int]:
        """Return the number of atoms in a frame and the number of frames."""
        return self._ask("extent")

    def topology(self) -> mdtraj.Topology | None:
        """Return the topology of an HDF5 file, if it contains one."""
        return self._ask("topology")

    def read(self, first: int, count: int) -> Sequence[Any]:
        """Return the first four arrays that mdtraj reads for some frames, fewer frames at the file's end."""
        return self._ask("read", first, count)


@dataclass(frozen=True)
class Snapshot:
    """A frame of a GSD file.

    Parameters
    ----------
    types : list of str
        Names of the particle types.
    typeid : ndarray, (particles,)
        Type of each particle.
    positions : ndarray, (particles, 3)
        In the unit of the file.
    bonds : ndarray, (bonds, 2), optional
        Bonded particles.
    box : ndarray, (6,), optional
        Lx, Ly, Lz and tilt factors xy, xz, yz.
    step : int
        Step of the simulation.
    """

    types: list[str]
    typeid: np.ndarray
    positions: np.ndarray
    bonds: np.ndarray | None
    box: np.ndarray | None
    step: int


class RemoteGsd(_RemoteFile):
    """A GSD file opened with the package gsd."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "open_gsd")

    def __len__(self) -> int:
        return self._ask("snapshots")

    def __getitem__(self, number: int) -> Snapshot:
        return Snapshot(**self._ask("snapshot", number))


def load_trajectory(path: Path, topology: mdtraj.Topology | None = None) -> mdtraj.Trajectory:
    """Read a whole file with mdtraj, with a topology if its format needs one."""
    import mdtraj

    if path.suffix.lower() == ".gz":
        with open_text(path, suffix_of(path).lstrip(".").upper()) as lines:
            deque(held(lines, path), maxlen=0)  # refuse text that does not fit into memory
    with ascii_name(path) as name:
        answer = _answer(path, lambda process: process.ask("load", name, topology))
    positions, topology, time, lengths, angles = _value(path, answer)
    return mdtraj.Trajectory(positions, topology, time, lengths, angles)


def load_topology(path: Path) -> mdtraj.Topology | None:
    """Read a topology with mdtraj."""
    with ascii_name(path) as name:
        return _value(path, _answer(path, lambda process: process.ask("load_topology", name)))


def _answer(path: Path, ask: Callable[[_Process], tuple[str, Any]]) -> tuple[str, Any]:
    """Ask for something; repeat once in a new process, as another file may have caused a late crash."""
    try:
        return ask(_running_process())
    except _Died:
        pass
    try:
        return ask(_running_process())
    except _Died as died:
        raise unreadable(path, str(died)) from died


def _value(path: Path, answer: tuple[str, Any]) -> Any:
    """Return the value of an answer, or raise the error that it reports."""
    kind, value = answer
    if kind == "missing":
        raise missing_package(path, value)
    if kind == "failed":
        raise unreadable(path, value)
    return value


class _Died(Exception):  # noqa: N818
    """The reading process ended instead of answering."""


class _Process:
    """A running process that answers one question at a time, from any thread.

    If Python is embedded in another program, ``multiprocessing.set_executable`` sets the Python to start.
    """

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.alive = True
        self._lock = threading.Lock()
        self._unneeded: deque[int] = deque()
        search = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [os.fsdecode(spawn.get_executable()), "-P", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": search},
            start_new_session=True,  # keyboard interrupts must not reach it
        )
        assert self._process.stdin is not None and self._process.stdout is not None  # both are pipes
        self._questions, self._answers = self._process.stdin, self._process.stdout

    def ask(self, *question: object) -> tuple[str, Any]:
        """Ask a question and wait for the answer.

        Raises
        ------
        _Died
            If the process ended before answering.
        """
        if self.owner != os.getpid():
            raise _Died("it was opened before a fork")
        with self._lock:
            return self._exchange(question)

    def let_go(self, handle: int) -> None:
        """Close a file: now, or with the next question if one is in progress, even in this thread.

        Garbage collection may close a file at any time.
        """
        self._unneeded.append(handle)
        if self.owner == os.getpid() and self._lock.acquire(blocking=False):
            try:
                with suppress(_Died):
                    self._exchange(("close_unneeded",))
            finally:
                self._lock.release()

    def _exchange(self, question: tuple[object, ...]) -> tuple[str, Any]:
        if not self.alive:
            raise _Died("the process that read it has ended")
        unneeded = [self._unneeded.popleft() for _ in range(len(self._unneeded))]
        try:
            pickle.dump((unneeded, *question), self._questions, protocol=5)
            self._questions.flush()
            return pickle.load(self._answers)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise _Died(self._end()) from error
        except BaseException:  # an interrupt between question and answer
            self._process.kill()
            self._end()
            raise

    def stop(self) -> None:
        """Kill the process, whatever it is doing."""
        if self.owner == os.getpid():
            self._process.kill()
            with self._lock:
                self._end()

    def _end(self) -> str:
        """Release the process, and return how it ended."""
        self.alive = False
        for pipe in (self._questions, self._answers):
            with suppress(OSError):
                pipe.close()
        code = self._process.wait()
        if code >= 0:
            return f"the process that reads it ended with code {code}"
        if -code == signal.SIGKILL:
            return "the process that read it was killed; is there enough memory?"
        return f"the library that reads it crashed: {signal.strsignal(-code)}"


_lock = threading.Lock()
_process: _Process | None = None


def _running_process() -> _Process:
    """Return the reading process, which serves all files; start it if necessary."""
    global _process
    with _lock:
        if _process is None or not _process.alive or _process.owner != os.getpid():
            try:
                _process = _Process()
            except OSError as error:
                raise InputError(
                    f"cannot start {spawn.get_executable()} to read trajectories: {error.strerror}"
                ) from error
            atexit.register(_process.stop)
        return _process


def _forget_lock() -> None:
    """Replace the lock after a fork, which may have copied it while another thread held it."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)
