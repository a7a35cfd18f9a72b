"""Output files that appear when they are whole, or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from backmap.errors import InputError

from .naming import stem_of, suffix_of

LONGEST_ENDING = 64
"""Bytes that names of files have more than that of their output, at most, while it is made."""

_REASONS: dict[int | None, str] = {
    errno.ENOSPC: "the disk is full; free some space or write elsewhere",
    errno.EDQUOT: "the disk quota is used up; free some space or write elsewhere",
    errno.EFBIG: "it would be larger than the file-size limit; raise the limit or write less",
    errno.EROFS: "the file system is read-only; write elsewhere",
    errno.EACCES: "there is no permission to write there; write elsewhere",
    errno.EPERM: "there is no permission to write there; write elsewhere",
    errno.ENAMETOOLONG: "its name is too long; give it a shorter one",
}


def writing_error(path: Path, error: OSError) -> InputError:
    """Say in one sentence why an output could not be written."""
    reason = _REASONS.get(error.errno, " ".join(str(error).split()) or type(error).__name__)
    return InputError(f"{path}: cannot be written: {reason}")


def require_free(
    final: Path, *, overwrite: bool = False, inputs: Iterable[str | Path] = (), taken: Collection[Path] = ()
) -> None:
    """Refuse a name that cannot be given to an output, saying why.

    Parameters
    ----------
    final : Path
        The name.
    overwrite : bool
        Whether a file of that name may be replaced.
    inputs : iterable of path
        Files that are being read and must never be replaced.
    taken : collection of Path
        Names of other outputs.
    """
    with explain_writing(final):
        _require_place(final)
        if final.exists() and any(Path(path).exists() and final.samefile(path) for path in inputs):
            raise InputError(f"{final}: is an input of this run; give the output another name")
        if final in taken:
            raise InputError(
                f"{final}: two outputs of this run would have this name; give the output another name"
            )
        if final.is_symlink():
            raise InputError(f"{final}: is a symbolic link; give the name of the file it points to")
        if final.is_dir():
            raise InputError(f"{final}: is a folder; give the name of a file")
        if final.exists() and not final.is_file():
            raise InputError(f"{final}: is a device or a pipe, which cannot be replaced; give another name")
        if final.exists() and not overwrite:
            raise InputError(f"{final}: exists already; give --overwrite to replace it")


def _require_place(final: Path) -> None:
    """Refuse a name in a folder that is not there, or one that leaves no room for endings."""
    folder = final.parent
    if not folder.exists():
        raise InputError(f"{final}: the folder {folder} does not exist; create it first")
    if not folder.is_dir():
        raise InputError(f"{final}: {folder} is not a folder")
    longest = os.pathconf(folder, "PC_NAME_MAX") - LONGEST_ENDING
    if len(os.fsencode(final.name)) > longest:
        raise InputError(f"{final}: its name is too long; give one of at most {longest} bytes")


class StagedFiles:
    """Files written under hidden names in their own folder and renamed together at the end.

    Used in a ``with`` statement: leaving it renames every file, leaving it by an exception (an interrupt too)
    removes them all, so that no partial output stays behind.

    Parameters
    ----------
    overwrite : bool
        Whether files of the final names may be replaced.
    inputs : iterable of path
        Files that are being read and must never be replaced.
    """

    def __init__(self, *, overwrite: bool = False, inputs: Iterable[str | Path] = ()) -> None:
        self._overwrite = overwrite
        self._inputs = list(inputs)
        self._final: dict[Path, Path] = {}

    def add(self, final: str | Path) -> Path:
        """Reserve an output file and give the hidden path to write it to.

        Raises
        ------
        InputError
            If the file exists and must stay, or its folder cannot be written.
        """
        final = Path(final)
        require_free(final, overwrite=self._overwrite, inputs=self._inputs, taken=set(self._final.values()))
        hidden = final.with_name(f".{stem_of(final)}.{os.getpid()}.partial{suffix_of(final)}")
        try:
            hidden.open("xb").close()
        except OSError as error:
            raise writing_error(final, error) from error
        self._final[hidden] = final
        return hidden

    def __enter__(self) -> StagedFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                publish(self._final)
        finally:
            for hidden in self._final:
                with suppress(OSError):
                    hidden.unlink(missing_ok=True)


def publish(files: Mapping[Path, Path]) -> None:
    """Give files, the keys, their final names, the values, on the same file system; they are on the disk."""
    for hidden, final in files.items():
        with explain_writing(final):
            settle(hidden, final)


def settle(hidden: Path, final: Path) -> None:
    """Give a file its name when it is on the disk: no power failure leaves half a file of that name."""
    synchronise(hidden)
    os.replace(hidden, final)
    synchronise(final.parent)


@contextmanager
def scratch_folder(final: Path) -> Iterator[Path]:
    """Make a hidden folder beside an output, and remove it in the end."""
    with explain_writing(final):
        folder = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def explain_writing(path: Path) -> Iterator[None]:
    """Turn failures of the system while a file is written into one sentence about that file."""
    try:
        yield
    except OSError as error:
        raise writing_error(path, error) from error


def synchronise(path: Path) -> None:
    """Wait until a file, or the list of names of a folder, is on the disk: it outlives a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
