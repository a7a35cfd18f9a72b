"""Output files that appear when they are whole, or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from backmap.errors import InputError

from .naming import stem_of, suffix_of

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or write elsewhere",
    errno.EDQUOT: "the disk quota is used up; free some space or write elsewhere",
    errno.EFBIG: "it would be larger than the file-size limit; raise the limit or write less",
    errno.EROFS: "the file system is read-only; write elsewhere",
    errno.EACCES: "there is no permission to write there; write elsewhere",
    errno.EPERM: "there is no permission to write there; write elsewhere",
}


def writing_error(path: Path, error: OSError) -> InputError:
    """Say in one sentence why an output could not be written."""
    reason = _REASONS.get(error.errno, " ".join(str(error).split()) or type(error).__name__)
    return InputError(f"{path}: cannot be written: {reason}")


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
    folder : Path, optional
        Where to write them until then, on the same file system; by default beside their final names.
    """

    def __init__(
        self, *, overwrite: bool = False, inputs: Iterable[str | Path] = (), folder: Path | None = None
    ) -> None:
        self._overwrite = overwrite
        self._folder = folder
        self._inputs = [Path(path) for path in inputs]
        self._final: dict[Path, Path] = {}

    def add(self, final: str | Path) -> Path:
        """Reserve an output file and give the hidden path to write it to.

        Raises
        ------
        InputError
            If the file exists and must stay, or its folder cannot be written.
        """
        final = Path(final)
        self.require_free(final)
        hidden = final.with_name(f".{stem_of(final)}.{os.getpid()}.partial{suffix_of(final)}")
        if self._folder is not None:
            hidden = self._folder / final.name
        try:
            hidden.open("xb").close()
        except OSError as error:
            raise writing_error(final, error) from error
        self._final[hidden] = final
        return hidden

    def require_free(self, final: Path) -> None:
        """Refuse a name that cannot be given to an output, saying why."""
        folder = final.parent
        if not folder.exists():
            raise InputError(f"{final}: the folder {folder} does not exist; create it first")
        if not folder.is_dir():
            raise InputError(f"{final}: {folder} is not a folder")
        if final.exists() and any(path.exists() and final.samefile(path) for path in self._inputs):
            raise InputError(f"{final}: is an input of this run; give the output another name")
        if final in self._final.values():
            raise InputError(
                f"{final}: two outputs of this run would have this name; give the output another name"
            )
        if final.is_dir():
            raise InputError(f"{final}: is a folder; give the name of a file")
        if final.exists() and not self._overwrite:
            raise InputError(f"{final}: exists already; give --overwrite to replace it")

    def __enter__(self) -> StagedFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._publish()
        finally:
            self._discard()

    def _publish(self) -> None:
        for hidden, final in self._final.items():
            with explain_writing(final):
                synchronise(hidden)
                os.replace(hidden, final)
                synchronise(final.parent)

    def _discard(self) -> None:
        for hidden in self._final:
            with suppress(OSError):
                hidden.unlink(missing_ok=True)


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
