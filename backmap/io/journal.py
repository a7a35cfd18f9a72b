"""A long run on disk while it goes on: outputs that grow, and how far they are; a kill loses little."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from backmap.errors import InputError

from .growing_file import Length
from .staging import explain_writing, publish, settle, synchronise

_REQUEST = "journal.json"
_PROGRESS = "progress.safetensors"
_PUBLISHING = "publishing"
_FINISHED = "finished"
_HIDDEN = ".partial"


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Parameters
    ----------
    frames_done : int
        Frames of the input that were dealt with.
    lengths : dict of str to Length
        How far the outputs have grown, by name.
    state : dict of str to ndarray
        What the frames to come depend on.
    notes : dict
        What else is to be kept, in values that JSON can hold.
    """

    frames_done: int = 0
    lengths: dict[str, Length] = field(default_factory=dict)
    state: dict[str, np.ndarray] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


class Journal:
    """The folder of an unfinished run: what was asked for, its outputs as they grow, and how far they are.

    How far the run is stands in one file, which is replaced as a whole after the outputs are on the disk: a
    kill, or a power failure, loses what came after. One run at a time holds the folder. In a ``with``
    statement: leaving it by an exception keeps the folder if anything was done.

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

    Attributes
    ----------
    progress : Progress
        How far the run is.

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
        self.progress = Progress()
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

    @staticmethod
    def was_publishing(folder: Path) -> bool:
        """Whether a run was stopped while its output was being given its final name."""
        return (folder / _PUBLISHING).exists()

    def commit(self, progress: Progress) -> None:
        """Note how far the run is. The outputs must be on the disk up to the lengths given."""
        text = {
            "frames_done": progress.frames_done,
            "lengths": {name: asdict(length) for name, length in progress.lengths.items()},
            "notes": progress.notes,
        }
        state = {name: np.ascontiguousarray(array) for name, array in progress.state.items()}
        self._write(_PROGRESS, save(state, {"progress": json.dumps(text)}))
        self.progress = progress

    def publish(self, files: Mapping[Path, Path]) -> None:
        """Give finished files of the folder, the keys, their final names, and remove the folder.

        A run that was stopped in the middle of it goes on with those that are left.
        """
        with explain_writing(self.folder):
            (self.folder / _PUBLISHING).touch()
            synchronise(self.folder)
        publish({path: final for path, final in files.items() if path.exists()})
        self.remove()

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
        if kind is not None and not self.progress.frames_done:
            self.remove()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _begin(self, request: dict[str, object], resume: bool) -> None:
        goes_on = resume and not _is_finished(self.folder)
        before = _read_request(self.folder / _REQUEST) if goes_on else None
        found = list(self.folder.iterdir())
        if found and not {path.name for path in found} & {_REQUEST, _REQUEST + _HIDDEN, _FINISHED}:
            raise InputError(f"{self.folder}: holds other files; move them, or give the output another name")
        if before is not None:
            _require_same(self.folder, before, json.loads(json.dumps(request)))
            self.progress = _read_progress(self.folder / _PROGRESS)
        if not self.progress.frames_done:
            for path in found:
                path.unlink()
            self._write(_REQUEST, json.dumps(request, indent=2).encode())

    def _write(self, name: str, data: bytes) -> None:
        """Make a file that appears whole and is on the disk then."""
        path = self.folder / name
        hidden = self.folder / (name + _HIDDEN)
        with explain_writing(path):
            hidden.write_bytes(data)
            settle(hidden, path)


def _read_progress(path: Path) -> Progress:
    """Read how far a run was, if it had noted anything."""
    if not path.exists():
        return Progress()
    with _opened(path) as file:
        text = json.loads(file.metadata()["progress"])
        state = {name: file.get_tensor(name) for name in file.keys()}
    lengths = {name: Length(**length) for name, length in text["lengths"].items()}
    return Progress(text["frames_done"], lengths, state, text["notes"])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, "np") as file:
            yield file
    except (SafetensorError, KeyError, TypeError) as error:
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
