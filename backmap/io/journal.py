"""A long run on disk while it goes on: outputs that grow, and how far they are; a kill loses little."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from backmap.errors import InputError, InputWarning

from .growing_file import Length, is_part_of_output
from .staging import explain_writing, publish, settle

_JOURNAL = "journal.json"
_PROGRESS = "progress.safetensors"
_HIDDEN = ".partial"
_OWN_NAMES = frozenset(name + ending for name in (_JOURNAL, _PROGRESS) for ending in ("", _HIDDEN))
_PROGRAM = "backmap"
_NAMED = 3
_START_ANEW = "give --overwrite to start the run anew"


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
    finishing : bool
        Whether all frames are built and the outputs are being brought into their final form.
    """

    frames_done: int = 0
    lengths: dict[str, Length] = field(default_factory=dict)
    state: dict[str, np.ndarray] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    finishing: bool = False


class Journal:
    """The folder of an unfinished run: what was asked for, its outputs as they grow, and how far they are.

    Progress is noted in one file, which is replaced as a whole after the outputs are on the disk: a kill, or
    a power failure, loses what came after. Checksums show whether a file is as the run left it. Files that
    are not the run's are never removed. One run at a time holds the folder. In a ``with`` statement:
    leaving it by an exception keeps the folder if anything was done.

    Parameters
    ----------
    folder : Path
        Beside the output, so that files can be renamed from one into the other.
    request : mapping of str to JSON value
        All that decides the output: hashes, seed, versions ... by the names used in messages.
    outputs : collection of str
        Names of the files that grow in the folder.
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
        If another run is writing there; an unfinished run is there and neither ``resume`` nor ``overwrite``
        is given; it was asked for something else; or the folder holds what no run has written.
    """

    def __init__(
        self,
        folder: Path,
        request: Mapping[str, object],
        outputs: Collection[str] = (),
        *,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.folder = folder
        self.progress = Progress()
        self._outputs = frozenset(outputs)
        with explain_writing(folder):
            if not folder.parent.is_dir():
                raise InputError(f"{folder.parent}: no such folder; create it first")
            if folder.exists() and not folder.is_dir():
                raise InputError(f"{folder}: is in the way, as the run needs a folder of that name; move it")
            folder.mkdir(exist_ok=True)
            self._lock: int | None = _lock(folder)
            try:
                self._begin(json.loads(json.dumps(request)), resume, overwrite)
            except BaseException:
                self._release()
                raise

    @staticmethod
    def is_finishing(folder: Path) -> bool:
        """Whether a run was stopped while its outputs were being finished: some may have their final names.

        Raises
        ------
        InputError
            If the folder cannot be read.
        """
        journal, progress = folder / _JOURNAL, folder / _PROGRESS
        with explain_writing(folder):
            if not (journal.exists() and progress.exists()):
                return False
        return _read_progress(progress, _read_sealed(journal)).finishing

    def commit(self, progress: Progress) -> None:
        """Note how far the run is. The outputs must be on the disk up to the lengths given."""
        text = json.dumps(
            {
                "frames_done": progress.frames_done,
                "lengths": {name: asdict(length) for name, length in progress.lengths.items()},
                "notes": progress.notes,
                "finishing": progress.finishing,
            }
        )
        state = {name: np.ascontiguousarray(array) for name, array in progress.state.items()}
        seal = _seal_of_progress(text, state, self._contents)
        self._write(_PROGRESS, save(state, {"progress": text, "sha256": seal}))
        self.progress = progress

    def publish(self, files: Mapping[Path, Path]) -> None:
        """Give finished files of the folder, the keys, their final names, and remove the folder.

        A run that was stopped in the middle of it goes on with those that are left.
        """
        left = {path: final for path, final in files.items() if path.exists()}
        lost = [path for path, final in files.items() if path not in left and not final.exists()]
        if lost:
            raise InputError(f"{lost[0]}: is gone; {_START_ANEW}")
        publish(left)
        self.remove()

    def remove(self) -> None:
        """Remove the folder: the output is whole, or there is nothing to keep. Foreign files stay in it."""
        foreign: list[str] = []
        with suppress(OSError):
            foreign = sorted(path.name for path in self.folder.iterdir() if not self._is_own(path))
            self._clear()
            (self.folder / _JOURNAL).unlink(missing_ok=True)
            if not foreign:
                self.folder.rmdir()
        if foreign:
            named = ", ".join(foreign[:_NAMED]) + (" ..." if len(foreign) > _NAMED else "")
            warnings.warn(
                f"{self.folder}: stays, as it holds what is not of this run ({named}); move it elsewhere",
                InputWarning,
                stacklevel=2,
            )

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

    def _begin(self, request: dict[str, object], resume: bool, overwrite: bool) -> None:
        self._contents: dict[str, Any] = {"request": request, "outputs": sorted(self._outputs)}
        journal, progress = self.folder / _JOURNAL, self.folder / _PROGRESS
        if journal.exists():
            before = _read_sealed(journal)
            if progress.exists() and not overwrite and not resume:
                raise InputError(
                    f"{self.folder}: an unfinished run lies there; give --resume to go on with it, "
                    "or --overwrite to start anew"
                )
            if progress.exists() and resume:
                _require_same(self.folder, before["request"], request)
                self._contents, self.progress = before, _read_progress(progress, before)
                return
            self._outputs |= set(before["outputs"])
            self._clear()
        elif any(path.name != _JOURNAL + _HIDDEN for path in self.folder.iterdir()):
            raise InputError(
                f"{self.folder}: holds files, but no journal of a run; move them, or give the output "
                "another name"
            )
        self._outputs = frozenset(self._contents["outputs"])
        self._write(_JOURNAL, _sealed(self._contents))

    def _is_own(self, path: Path) -> bool:
        """Tell whether a file in the folder is one that the run has made."""
        if path.is_symlink() or not path.is_file():
            return False
        return path.name in _OWN_NAMES or is_part_of_output(path.name, self._outputs)

    def _clear(self) -> None:
        """Remove all files of the run but its journal; the progress goes last, as all others depend on it."""
        own = [path for path in self.folder.iterdir() if self._is_own(path) and path.name != _JOURNAL]
        for path in sorted(own, key=lambda path: path.name == _PROGRESS):
            path.unlink()

    def _write(self, name: str, data: bytes) -> None:
        """Make a file that appears whole and is on the disk then."""
        path = self.folder / name
        hidden = self.folder / (name + _HIDDEN)
        with explain_writing(path):
            hidden.write_bytes(data)
            settle(hidden, path)


def _sealed(contents: dict[str, Any]) -> bytes:
    """Write values as JSON with a checksum of them."""
    seal = hashlib.sha256(json.dumps(contents).encode()).hexdigest()
    return json.dumps({"program": _PROGRAM, "sha256": seal, "contents": contents}, indent=2).encode()


def _read_sealed(file: Path) -> dict[str, Any]:
    """Read what :func:`_sealed` gave, or refuse what is anything else."""
    found: Any = None
    data = b""
    with suppress(OSError, ValueError, RecursionError):
        data = file.read_bytes()
        found = json.loads(data)
    contents = found.get("contents") if isinstance(found, dict) else None
    if not isinstance(contents, dict) or data != _sealed(contents):
        raise InputError(
            f"{file}: is damaged, or no journal of backmap; remove {file.parent} if you need nothing in it, "
            "or give the output another name"
        )
    return contents


def _seal_of_progress(text: str, state: Mapping[str, np.ndarray], contents: dict[str, Any]) -> str:
    """Hash how far a run is, together with the contents of its journal."""
    digest = hashlib.sha256(json.dumps([contents, text]).encode())
    for name, array in sorted(state.items()):
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _read_progress(path: Path, contents: dict[str, Any]) -> Progress:
    """Read how far the run with a journal of these contents was."""
    with _opened(path) as file:
        metadata = file.metadata()
        text = metadata["progress"]
        state = {name: file.get_tensor(name) for name in file.keys()}
        is_whole = metadata["sha256"] == _seal_of_progress(text, state, contents)
    if not is_whole:
        raise InputError(f"{path}: is not what the run has written there; {_START_ANEW}")
    values = json.loads(text)
    lengths = {name: Length(**length) for name, length in values["lengths"].items()}
    return Progress(values["frames_done"], lengths, state, values["notes"], values["finishing"])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, "np") as file:
            yield file
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); {_START_ANEW}") from error


def _lock(folder: Path) -> int:
    """Hold a folder until the descriptor given is closed or the process ends, however it ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise InputError(
            f"{folder}: another run is writing there now; wait for its end, or stop it"
        ) from error
    except OSError:  # a file system without locks
        pass
    return descriptor


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
