"""What a library raises on a file it cannot read, as one sentence about that file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backmap.errors import InputError

from .naming import HDF5_SUFFIXES, suffix_of

_LONGEST_REASON = 200


def unreadable(path: Path, reason: str, kind: str | None = None) -> InputError:
    """Say that a file cannot be read as a kind (its suffix's), and why by the words of a library."""
    kind = kind or suffix_of(path).lstrip(".").upper()
    return InputError(
        f"{path}: cannot be read as {kind}; it is damaged or of another format ({_one_line(reason)})"
    )


def missing_package(path: Path, package: str | None) -> InputError:
    """Say which package reading a file needs."""
    kind = suffix_of(path).lstrip(".").upper()
    needed = "tables" if suffix_of(path) in HDF5_SUFFIXES else (package or "another package").split(".")[0]
    return InputError(f"{path}: reading {kind} needs a package; pip install {needed}")


@contextmanager
def explain_reading(path: Path, kind: str | None = None) -> Iterator[None]:
    """Turn whatever a library's parser raises into one sentence; for nothing but calls of libraries."""
    try:
        yield
    except ImportError as error:
        raise missing_package(path, error.name) from error
    except Exception as error:
        raise unreadable(path, str(error) or type(error).__name__, kind) from error


def _one_line(reason: str) -> str:
    """Give a library's words on one line, not too long."""
    line = " ".join(reason.split())
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]} ..."
