"""Text, plain or gzipped, whose size nobody vouches for: a small gzip file may hold more than memory does."""

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
"""Letters of a line; no format here has lines of more than a few hundred."""

MEMORY_PER_LETTER = 10
"""What a parsed letter takes in memory, in bytes, at most."""


@contextmanager
def open_text(
    path: Path, kind: str, encoding: str = "latin-1", errors: str = "strict"
) -> Iterator[Iterator[str]]:
    """Open a text file of a kind, PDB say, and give its lines.

    Raises
    ------
    InputEndsEarly
        If a gzip file is cut off.
    InputError
        If the file cannot be read, or has a line that no text has.
    """
    try:
        opener = gzip.open if path.suffix.lower() == ".gz" else open
        with opener(path, "rt", encoding=encoding, errors=errors) as file:
            yield _lines(file, path, kind)
    except EOFError as error:
        raise InputEndsEarly(f"{path}: ends too early (the gzip file is cut off); copy it again") from error
    except (OSError, zlib.error, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as {kind} ({reason})") from error


def _lines(file: TextIO, path: Path, kind: str) -> Iterator[str]:
    for line in iter(partial(file.readline, MAX_LINE), ""):
        if len(line) == MAX_LINE:
            raise InputError(
                f"{path}: cannot be read as {kind} (it has a line of {MAX_LINE} letters or more)"
            )
        yield line


def held(lines: Iterable[str], path: Path) -> Iterator[str]:
    """Pass lines on as long as all of them fit into memory."""
    left = most_letters()
    for line in lines:
        left -= len(line)
        if left < 0:
            raise too_large(path)
        yield line


def most_letters() -> int:
    """How many letters of text fit into the memory that is there."""
    return psutil.virtual_memory().available // MEMORY_PER_LETTER


def too_large(path: Path) -> InputError:
    """Say that a text does not fit into memory."""
    return InputError(f"{path}: holds more text than fits into memory; split it, or write it as a trajectory")
