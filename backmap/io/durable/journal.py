"""The journal of a long run: growing outputs and recorded progress, so that a kill loses little."""

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
from .staging import explain_writing, publish, rename_durably

_JOURNAL = "journal.json"
_PROGRESS = "progress.safetensors"
_HIDDEN = ".partial"
_OWN_NAMES = frozenset(name + ending for name in (_JOURNAL, _PROGRESS) for ending in ("", _HIDDEN))
_PROGRAM = "backmap"
_NAMED = 3
_START_ANEW = "give --overwrite to start the run anew"


@dataclass(frozen=True)
class Progress:
    """Progress of a run.

    Parameters
    ----------
    frames_done : int
        Number of input frames processed.
    lengths : dict of str to Length
        How far the outputs have grown, by name.
    state : dict of str to ndarray
        State on which the remaining frames depend.
    notes : dict
        Other values to keep, as JSON values.
    finishing : bool
        Whether all frames are built and the outputs are being converted to their final form.
    """

    frames_done: int = 0
    lengths: dict[str, Length] = field(default_factory=dict)
    state: dict[str, np.ndarray] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    finishing: bool = False


class Journal:
    """The folder of an unfinished run: the request, the growing outputs and the progress.

    Progress is recorded in one file, which is replaced as a whole once the outputs are on disk: a kill or a
    power failure loses only what came after. Checksums show whether a file is as the run left it. Files that
    do not belong to the run are never removed. Only one run at a time uses the folder. Leaving the ``with``
    statement by an exception keeps the folder if any frames are done.

    Parameters
    ----------
    folder : Path
        Folder on the same file system as the output, so that files can be renamed.
    request : mapping of str to JSON value
        Everything that determines the output: hashes, seed, versions ... by the names used in messages.
    outputs : collection of str
        Names of the files that grow in the folder.
    resume : bool
        Continue an unfinished run.
    overwrite : bool
        Discard an unfinished run.

    Attributes
    ----------
    progress : Progress
        Progress of the run.

    Raises
    ------
    InputError
        If another run is writing to the folder; it contains an unfinished run and neither ``resume`` nor
        ``overwrite`` is given; that run had a different request; or the folder contains files that no run
        wrote.
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
                raise InputError(f"{folder}: is in the way: the run needs a folder of that name; move it")
            folder.mkdir(exist_ok=True)
            self._lock: int | None = _lock(folder)
            try:
                self._begin(json.loads(json.dumps(request)), resume, overwrite)
            except BaseException:
                self._release()
                raise

    @staticmethod
    def is_finishing(folder: Path) -> bool:
        """Return whether a run was stopped while finishing its outputs: some may have their final names.

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
        """Record the progress of the run. The outputs must be on disk up to the given lengths."""
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
        """Rename finished files of the folder (keys) to their final names (values), and remove the folder.

        A run that was stopped while renaming continues with the remaining files.
        """
        left = {path: final for path, final in files.items() if path.exists()}
        lost = [path for path, final in files.items() if path not in left and not final.exists()]
        if lost:
            raise InputError(f"{lost[0]}: is missing; {_START_ANEW}")
        publish(left)
        self.remove()

    def remove(self) -> None:
        """Remove the folder when the output is complete or there is nothing to keep; keep foreign files."""
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
                f"{self.folder}: kept, as it contains other files ({named}); move them elsewhere",
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
                    f"{self.folder}: contains an unfinished run; give --resume to continue it, "
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
                f"{self.folder}: contains files, but no journal of a run; move them, or give the output "
                "another name"
            )
        self._outputs = frozenset(self._contents["outputs"])
        self._write(_JOURNAL, _sealed(self._contents))

    def _is_own(self, path: Path) -> bool:
        """Return whether a file in the folder was made by the run."""
        if path.is_symlink() or not path.is_file():
            return False
        return path.name in _OWN_NAMES or is_part_of_output(path.name, self._outputs)

    def _clear(self) -> None:
        """Remove all files of the run except its journal; the progress last, as it describes the others."""
        own = [path for path in self.folder.iterdir() if self._is_own(path) and path.name != _JOURNAL]
        for path in sorted(own, key=lambda path: path.name == _PROGRESS):
            path.unlink()

    def _write(self, name: str, data: bytes) -> None:
        """Write a file that appears only when it is complete and on disk."""
        path = self.folder / name
        hidden = self.folder / (name + _HIDDEN)
        with explain_writing(path):
            hidden.write_bytes(data)
            rename_durably(hidden, path)


def _sealed(contents: dict[str, Any]) -> bytes:
    """Write values as JSON with a checksum."""
    seal = hashlib.sha256(json.dumps(contents).encode()).hexdigest()
    return json.dumps({"program": _PROGRAM, "sha256": seal, "contents": contents}, indent=2).encode()


def _read_sealed(file: Path) -> dict[str, Any]:
    """Read the output of :func:`_sealed`; refuse anything else."""
    found: Any = None
    data = b""
    with suppress(OSError, ValueError, RecursionError):
        data = file.read_bytes()
        found = json.loads(data)
    contents = found.get("contents") if isinstance(found, dict) else None
    if not isinstance(contents, dict) or data != _sealed(contents):
        raise InputError(
            f"{file}: is damaged or not a journal of backmap; remove {file.parent} if you need nothing in "
            "it, or give the output another name"
        )
    return contents


def _seal_of_progress(text: str, state: Mapping[str, np.ndarray], contents: dict[str, Any]) -> str:
    """Hash the progress of a run, together with the contents of its journal."""
    digest = hashlib.sha256(json.dumps([contents, text]).encode())
    for name, array in sorted(state.items()):
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _read_progress(path: Path, contents: dict[str, Any]) -> Progress:
    """Read the progress of the run whose journal has these contents."""
    with _opened(path) as file:
        metadata = file.metadata()
        text = metadata["progress"]
        state = {name: file.get_tensor(name) for name in file.keys()}
        is_whole = metadata["sha256"] == _seal_of_progress(text, state, contents)
    if not is_whole:
        raise InputError(f"{path}: was changed since the run wrote it; {_START_ANEW}")
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
    """Lock a folder until the returned descriptor is closed or the process ends in any way."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise InputError(
            f"{folder}: another run is writing there now; wait until it ends, or stop it"
        ) from error
    except OSError:  # a file system without locks
        pass
    return descriptor


def _require_same(folder: Path, before: dict[str, object], now: dict[str, object]) -> None:
    """Refuse to continue a run that had a different request."""
    for name in {**before, **now}:
        old, new = before.get(name), now.get(name)
        if old != new:
            shown = f" ({old}, now {new})" if _is_short(old) and _is_short(new) else ""
            raise InputError(
                f"{folder}: the unfinished run there differs in {name}{shown}; "
                "give the same again, or --overwrite to start anew"
            )


def _is_short(value: object) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) < 32)
