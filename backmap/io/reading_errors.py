"""What a library raises on a file it cannot read, as one sentence about that file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backmap.errors import InputError

from .naming import HDF5_SUFFIXES, suffix_of

_LONGEST_REASON = 200


def unreadable(path: Path, reason: str) -> InputError:
    """Say that a file cannot be read, and why by the words of a library."""
    kind = suffix_of(path).lstrip(".").upper()
    return InputError(
        f"{path}: cannot be read as {kind}; it is damaged or of another format ({_one_line(reason)})"
    )


def missing_package(path: Path, package: str | None) -> InputError:
    """Say which package reading a file needs."""
    needed = "tables" if suffix_of(path) in HDF5_SUFFIXES else package or "another package"
    return InputError(f"{path}: reading this format needs a package; pip install {needed}")


@contextmanager
def explain_reading(path: Path) -> Iterator[None]:
    """Turn whatever a library's parser raises into one sentence; for nothing but calls of libraries."""
    try:
        yield
    except InputError:
        raise
    except ImportError as error:
        raise missing_package(path, error.name) from error
    except EOFError as error:
        raise InputError(f"{path}: ends too early; copy it again") from error
    except Exception as error:
        raise unreadable(path, str(error) or type(error).__name__) from error


def _one_line(reason: str) -> str:
    """Give a library's words on one line, not too long."""
    line = " ".join(reason.split())
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]} ..."
