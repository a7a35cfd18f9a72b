"""Output files that appear only when they are complete."""

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

from ..naming import stem_of, suffix_of

LONGEST_ENDING = 64
"""Most bytes by which names of temporary files are longer than that of their output."""

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
    """Return the error that explains in one sentence why an output could not be written."""
    reason = _REASONS.get(error.errno, " ".join(str(error).split()) or type(error).__name__)
    return InputError(f"{path}: cannot be written: {reason}")


def require_free(
    final: Path, *, overwrite: bool = False, inputs: Iterable[str | Path] = (), taken: Collection[Path] = ()
) -> None:
    """Refuse a name that an output cannot have, and explain why.

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
            raise InputError(f"{final}: already exists; give --overwrite to replace it")


def _require_place(final: Path) -> None:
    """Refuse a name in a folder that does not exist, or one too long for temporary endings."""
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

    Use it in a ``with`` statement: leaving it renames every file; leaving it by an exception (including an
    interrupt) removes them all, so that no partial output remains.

    Parameters
    ----------
    overwrite : bool
        Whether files with the final names may be replaced.
    inputs : iterable of path
        Files that are being read and must never be replaced.
    """

    def __init__(self, *, overwrite: bool = False, inputs: Iterable[str | Path] = ()) -> None:
        self._overwrite = overwrite
        self._inputs = list(inputs)
        self._final: dict[Path, Path] = {}

    def add(self, final: str | Path) -> Path:
        """Reserve an output file and return the hidden path to write it to.

        Raises
        ------
        InputError
            If the file exists and may not be replaced, or its folder is not writable.
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

    def drop(self, hidden: Path) -> None:
        """Give up a reserved file, which will not be written."""
        del self._final[hidden]
        hidden.unlink(missing_ok=True)

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
    """Rename files (keys) to their final names (values) on the same file system, once they are on disk."""
    for hidden, final in files.items():
        with explain_writing(final):
            rename_durably(hidden, final)


def rename_durably(hidden: Path, final: Path) -> None:
    """Rename a file once it is on disk, so that a power failure never leaves half a file with that name."""
    synchronise(hidden)
    os.replace(hidden, final)
    synchronise(final.parent)


@contextmanager
def scratch_folder(final: Path) -> Iterator[Path]:
    """Make a hidden folder beside an output, and remove it at the end."""
    with explain_writing(final):
        folder = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def explain_writing(path: Path) -> Iterator[None]:
    """Turn system errors while a file is being written into one sentence about that file."""
    try:
        yield
    except OSError as error:
        raise writing_error(path, error) from error


def synchronise(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on disk and would survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
