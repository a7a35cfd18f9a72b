"""A long run on disk while it goes on: finished pieces and the state after each, so that a kill loses one."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from backmap.errors import InputError

from .staging import explain_writing, synchronise

_REQUEST = "journal.json"
_PUBLISHING = "publishing"
_FINISHED = "finished"
_PIECE = "piece-{:012d}-{:012d}.safetensors"
_ANY_PIECE = "piece-*.safetensors"
_HIDDEN = ".partial"


class Journal:
    """The folder of an unfinished run: what was asked for, and finished pieces in order.

    A piece is a file of named arrays that appears whole, on the disk even if the power fails; its name holds
    the number of the frame after it. A run that was killed finds its pieces again and goes on after the
    last. One run at a time holds the folder. In a ``with`` statement: leaving it by an exception keeps the
    folder if it holds a piece.

    Parameters
    ----------
    folder : Path
        Beside the output, so that files can be renamed from one into the other.
    request : mapping of str to JSON value
        All that decides the output: hashes, seed, versions ... by the names used in messages.
    resume : bool
        Go on with what is there.
    overwrite : bool
        Throw away what is there.

    Raises
    ------
    InputError
        If the folder is there and neither ``resume`` nor ``overwrite`` is wanted, the run that left it was
        asked for something else, another run is writing there, or it is no folder of such a run.
    """

    def __init__(
        self, folder: Path, request: Mapping[str, object], *, resume: bool = False, overwrite: bool = False
    ) -> None:
        self.folder = folder
        if folder.exists() and not _is_finished(folder) and not resume and not overwrite:
            raise InputError(
                f"{folder}: an unfinished run lies there; give --resume to go on with it, "
                "or --overwrite to start anew"
            )
        if not folder.parent.is_dir():
            raise InputError(f"{folder.parent}: no such folder; create it first")
        with explain_writing(folder):
            folder.mkdir(exist_ok=True)
            self._lock: int | None = _lock(folder)
            try:
                self._begin(dict(request), resume)
            except BaseException:
                self._release()
                raise

    @property
    def frames_done(self) -> int:
        """Number of frames in the pieces."""
        return self._bounds[-1]

    @property
    def is_publishing(self) -> bool:
        """Whether the run was stopped while its output was being given its final name."""
        return (self.folder / _PUBLISHING).exists()

    def append(self, arrays: Mapping[str, np.ndarray], frames_done: int) -> None:
        """Add a piece that ends after so many frames of the run."""
        data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        self._write(_PIECE.format(self.frames_done, frames_done), data)
        self._bounds.append(frames_done)

    def pieces(self) -> Iterator[Piece]:
        """Go through the pieces in order."""
        for begin, end in pairwise(self._bounds):
            with _opened(self.folder / _PIECE.format(begin, end)) as piece:
                yield piece

    def last(self, prefix: str) -> dict[str, np.ndarray]:
        """Arrays of the last piece whose names begin with a prefix, which is taken off."""
        with _opened(self.folder / _PIECE.format(*self._bounds[-2:])) as piece:
            return {name.removeprefix(prefix): piece[name] for name in piece if name.startswith(prefix)}

    def publish(self) -> None:
        """Note that all pieces are there and the output is about to get its final name."""
        with explain_writing(self.folder):
            (self.folder / _PUBLISHING).touch()
            synchronise(self.folder)

    def remove(self) -> None:
        """Remove the folder: the output is whole, or there is nothing to keep."""
        with suppress(OSError):
            (self.folder / _FINISHED).touch()
            synchronise(self.folder)
            for path in self.folder.iterdir():
                if path.name != _FINISHED:
                    path.unlink()
            shutil.rmtree(self.folder)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not self.frames_done:
            self.remove()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _begin(self, request: dict[str, object], resume: bool) -> None:
        goes_on = resume and not _is_finished(self.folder)
        before = _read_request(self.folder / _REQUEST) if goes_on else None
        self._bounds = [0]
        kept: set[str] = set()
        if before is not None:
            _require_same(self.folder, before, json.loads(json.dumps(request)))
            kept = {_REQUEST, _PUBLISHING, *self._find_pieces()}
        found = list(self.folder.iterdir())
        if found and not {path.name for path in found} & {_REQUEST, _REQUEST + _HIDDEN, _FINISHED}:
            raise InputError(f"{self.folder}: holds other files; move them, or give the output another name")
        for path in found:
            if path.name not in kept:  # it was being written when the run was killed, or is not wanted
                path.unlink()
        if before is None:
            self._write(_REQUEST, json.dumps(request, indent=2).encode())

    def _find_pieces(self) -> list[str]:
        """Find the pieces of the run before, and make sure that none is missing."""
        names = sorted(path.name for path in self.folder.glob(_ANY_PIECE))
        for name in names:
            begin, end = map(int, name.removesuffix(".safetensors").split("-")[1:])
            if begin != self.frames_done:
                raise InputError(
                    f"{self.folder}: the piece from frame {self.frames_done + 1} on is missing; "
                    "give --overwrite to start anew"
                )
            self._bounds.append(end)
        return names

    def _write(self, name: str, data: bytes) -> None:
        """Make a file that appears whole and is on the disk then."""
        path = self.folder / name
        hidden = self.folder / (name + _HIDDEN)
        with explain_writing(path):
            hidden.write_bytes(data)
            synchronise(hidden)
            os.replace(hidden, path)
            synchronise(self.folder)


class Piece:
    """One piece: a mapping of names to arrays, each read when asked for."""

    def __init__(self, file) -> None:
        self._file = file
        self._names = frozenset(file.keys())

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> np.ndarray:
        return self._file.get_tensor(name)

    def row(self, name: str, index: int) -> np.ndarray:
        """One entry along the first axis of an array, without reading the others."""
        return self._file.get_slice(name)[index]


@contextmanager
def _opened(path: Path) -> Iterator[Piece]:
    try:
        with safe_open(path, "np") as file:
            yield Piece(file)
    except (SafetensorError, FileNotFoundError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); give --overwrite to start the run anew"
        ) from error


def _lock(folder: Path) -> int:
    """Hold a folder until the descriptor given is closed or the process ends, however it ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise InputError(f"{folder}: another run is writing there; wait for it or stop it") from error
    except OSError:  # a file system without locks
        pass
    return descriptor


def _is_finished(folder: Path) -> bool:
    """Whether a run was through and only its folder was not removed yet."""
    return (folder / _FINISHED).exists()


def _read_request(file: Path) -> dict[str, object] | None:
    with suppress(FileNotFoundError, json.JSONDecodeError):
        return json.loads(file.read_text(encoding="utf-8"))
    return None


def _require_same(folder: Path, before: dict[str, object], now: dict[str, object]) -> None:
    """Refuse to go on with a run that was asked for something else."""
    for name in {**before, **now}:
        old, new = before.get(name), now.get(name)
        if old != new:
            shown = f" ({old}, now {new})" if _is_short(old) and _is_short(new) else ""
            raise InputError(
                f"{folder}: the unfinished run there had another {name}{shown}; "
                "ask for the same again, or give --overwrite to start anew"
            )


def _is_short(value: object) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) < 32)
