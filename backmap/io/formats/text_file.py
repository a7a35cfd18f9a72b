"""Plain or gzipped text of untrusted size: a small gzip file may expand to more than memory can hold."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO

import psutil

from backmap.errors import InputEndsEarly, InputError

MAX_LINE = 1 << 20
"""Most characters in a line; lines of the formats read here have no more than a few hundred."""

MEMORY_PER_LETTER = 10
"""Most bytes of memory that a parsed character takes."""


@contextmanager
def open_text(
    path: Path, kind: str, encoding: str = "latin-1", errors: str = "strict"
) -> Iterator[Iterator[str]]:
    """Open a text file of a kind, such as PDB, and yield an iterator over its lines.

    Raises
    ------
    InputEndsEarly
        If a gzip file is truncated.
    InputError
        If the file cannot be read, or a line is too long for a text file.
    """
    try:
        opener = gzip.open if path.suffix.lower() == ".gz" else open
        with opener(path, "rt", encoding=encoding, errors=errors) as file:
            yield _lines(file, path, kind)
    except EOFError as error:
        raise InputEndsEarly(f"{path}: ends too early (the gzip file is truncated); copy it again") from error
    except (OSError, zlib.error, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as {kind} ({reason})") from error


def _lines(file: TextIO, path: Path, kind: str) -> Iterator[str]:
    for line in iter(partial(file.readline, MAX_LINE), ""):
        if len(line) == MAX_LINE:
            raise InputError(
                f"{path}: cannot be read as {kind} (it has a line of {MAX_LINE} characters or more)"
            )
        yield line


def held(lines: Iterable[str], path: Path) -> Iterator[str]:
    """Pass lines on as long as all of them together fit into memory."""
    left = most_letters()
    for line in lines:
        left -= len(line)
        if left < 0:
            raise too_large(path)
        yield line


def most_letters() -> int:
    """Return the number of characters of text that fit into the available memory."""
    return psutil.virtual_memory().available // MEMORY_PER_LETTER


def too_large(path: Path) -> InputError:
    """Return the error for text that does not fit into memory."""
    return InputError(
        f"{path}: contains more text than fits into memory; split it, or write it as a trajectory"
    )
